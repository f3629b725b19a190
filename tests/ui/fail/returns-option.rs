use lock_runtime::locked;

#[locked("task")]
async fn f(x: u8) -> Option<u8> {
    let x = x.checked_add(1)?;
    Some(x)
}

fn main() {}
