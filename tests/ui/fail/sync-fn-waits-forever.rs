use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task", wait = "forever")]
fn f() -> R {
    Ok(())
}

fn main() {}
