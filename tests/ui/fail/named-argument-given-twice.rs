use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task:{kind}", kind = 1, kind = 2)]
async fn f(task_id: u64, column: &str) -> R {
    Ok(())
}

fn main() {}
