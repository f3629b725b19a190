//! The command line that looks after a lock store.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockd::ctl::main(std::env::args_os())
}
