use lock_runtime::auth;

type R = Result<(), lock_runtime::LockError>;

#[auth(assigned)]
async fn f() -> R {
    Ok(())
}

fn main() {}
