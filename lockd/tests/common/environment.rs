//! The program `lockd` without what the environment of the tests says to it.

use std::process::Command;

pub(crate) fn without_environment(command: &mut Command) -> &mut Command {
    for variable in [
        "LOCKD_SOCKET",
        "LOCKD_LOG",
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "STATE_DIRECTORY",
    ] {
        command.env_remove(variable);
    }
    command
}
