use lock_runtime::locked;

#[locked("task")]
async fn f(x: u8) -> u8 {
    x
}

fn main() {}
