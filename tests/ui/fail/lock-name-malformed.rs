use lock_runtime::lock_name;

fn main() {
    let _ = lock_name!("a b");
}
