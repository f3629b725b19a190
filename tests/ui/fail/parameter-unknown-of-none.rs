use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task:{task_id}")]
async fn f() -> R {
    Ok(())
}

fn main() {}
