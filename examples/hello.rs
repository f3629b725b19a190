//! The smallest program that locks something.

use lock_runtime::{LockError, LockManager, locked, set_lock_manager};

#[locked("greeting:{name}")]
async fn greet(name: &str) -> Result<String, LockError> {
    Ok(format!("Hello, {name}! Nobody else greets you right now."))
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    set_lock_manager(LockManager::memory())?;
    println!("{}", greet("Ada").await?);
    Ok(())
}
