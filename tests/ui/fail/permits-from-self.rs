use lock_runtime::{LockError, locked};

struct Pool {
    size: u32,
}

impl Pool {
    #[locked("pool", permits = self.size)]
    async fn take(&self) -> Result<(), LockError> {
        Ok(())
    }
}

fn main() {}
