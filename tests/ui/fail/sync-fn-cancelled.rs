use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task", on_lost = cancel)]
fn f() -> R {
    Ok(())
}

fn main() {}
