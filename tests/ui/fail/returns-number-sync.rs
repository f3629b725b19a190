use lock_runtime::locked;

#[locked("task")]
fn f(x: u8) -> u8 {
    x
}

fn main() {}
