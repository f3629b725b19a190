use lock_runtime::auth;

#[auth]
async fn f() {}

fn main() {}
