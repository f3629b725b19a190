use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task:{}", task_id)]
async fn f(task_id: u64, column: &str) -> R {
    Ok(())
}

fn main() {}
