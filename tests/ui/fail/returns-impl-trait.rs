use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
fn f() -> impl Iterator<Item = u8> {
    [1].into_iter()
}

fn main() {}
