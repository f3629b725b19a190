use std::pin::Pin;

use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
fn f(x: u8) -> Pin<Box<dyn Future<Output = R>>> {
    if x == 0 {
        return Box::pin(async { Ok(()) });
    }
    Box::pin(async { Ok(()) })
}

fn main() {}
