use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
async fn f() {}

fn main() {}
