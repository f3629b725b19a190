//! The daemon.

fn main() -> std::process::ExitCode {
    lockd::daemon::main()
}
