use lock_runtime::auth;

type R = Result<(), lock_runtime::LockError>;

struct Board;

#[auth]
impl Board {
    async fn f(&self) -> R {
        Ok(())
    }
}

fn main() {}
