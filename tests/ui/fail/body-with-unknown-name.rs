use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
async fn f() -> R {
    let _ = unknown;
    Ok(())
}

fn main() {}
