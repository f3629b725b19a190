use lock_runtime::auth;

type R = Result<(), lock_runtime::LockError>;

#[auth]
const fn f() -> R {
    Ok(())
}

fn main() {}
