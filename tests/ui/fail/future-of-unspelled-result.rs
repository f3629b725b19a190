use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
fn f() -> impl Future {
    async { 1 }
}

fn main() {}
