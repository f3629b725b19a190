use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task", wait = 5 + 5)]
async fn f() -> R {
    Ok(())
}

fn main() {}
