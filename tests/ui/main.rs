//! What a wrong annotation is told: one fault a file, and exactly one error.
//!
//! The expected texts are those of one compiler, because it words and places errors a little
//! differently in every release. To change them, run the test with `TRYBUILD=overwrite` and read
//! the difference.

use std::process::Command;

/// The compiler that the expected texts were made with.
const COMPILER: &str = "rustc 1.95.0 ";

#[test]
fn ui() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .expect("the compiler says its version");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if !version.starts_with(COMPILER) {
        println!("skipped: the expected texts are those of {COMPILER}, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}
