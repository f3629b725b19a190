use lock_runtime::locked;

struct NoFrom;

#[locked("task")]
fn f() -> Result<u8, NoFrom> {
    Ok(1)
}

fn main() {}
