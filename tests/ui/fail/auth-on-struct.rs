use lock_runtime::auth;

#[auth]
struct Board;

fn main() {}
