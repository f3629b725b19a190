use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

trait Board {
    #[locked("task:{id}")]
    async fn f(&self, id: u64) -> R;
}

fn main() {}
