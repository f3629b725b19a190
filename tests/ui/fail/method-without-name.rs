use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

struct Board;

impl Board {
    #[locked]
    async fn f(&self) -> R {
        Ok(())
    }
}

fn main() {}
