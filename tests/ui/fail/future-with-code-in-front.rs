use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
fn f(x: u8) -> impl Future<Output = R> {
    let y = x + 1;
    async move {
        let _ = y;
        Ok(())
    }
}

fn main() {}
