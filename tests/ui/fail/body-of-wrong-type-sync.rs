use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task")]
fn f(x: u8) -> R {
    if x == 0 {
        return x;
    }
    Ok(())
}

fn main() {}
