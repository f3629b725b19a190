use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

struct Id;

#[locked("task:{id}")]
async fn f(id: Id) -> R {
    let _ = id;
    Ok(())
}

fn main() {}
