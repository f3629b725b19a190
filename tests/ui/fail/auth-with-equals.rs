use lock_runtime::{auth, locked};

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
#[auth = "bob"]
async fn f() -> R {
    Ok(())
}

fn main() {}
