use lock_runtime::locked;

#[locked("task")]
struct Board;

fn main() {}
