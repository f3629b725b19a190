use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task:{task_id:widht$}")]
async fn f(task_id: u64, width: usize) -> R {
    Ok(())
}

fn main() {}
