use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
fn f() -> () {}

fn main() {}
