use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

#[locked("task:{tsk_id}")]
async fn f(task_id: u64) -> R {
    let _ = task_id;
    Ok(())
}

async fn g() -> R {
    f(1).await
}

fn main() {
    drop(g());
}
