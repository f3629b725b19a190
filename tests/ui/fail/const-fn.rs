use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
const fn f() -> R {
    Ok(())
}

fn main() {}
