use lock_runtime::{auth, locked};

type R = Result<(), lock_runtime::LockError>;

struct Board;

#[auth]
impl Board {
    #[locked("task", permits = 2)]
    async fn f(&self) -> R {
        Ok(())
    }
}

fn main() {}
