use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task", manager = 5)]
async fn f() -> R {
    Ok(())
}

fn main() {}
