use lock_runtime::locked;

type R = Result<(), lock_runtime::LockError>;

fn needs_send(_: impl Send) {}

#[locked("task")]
async fn f() -> R {
    let shared = std::rc::Rc::new(1);
    std::future::ready(()).await;
    drop(shared);
    Ok(())
}

fn main() {
    needs_send(f());
}
