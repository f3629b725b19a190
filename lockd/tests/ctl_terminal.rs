//! `lockctl` on a terminal: the command can read it, Ctrl-C and Ctrl-Z do what they do elsewhere,
//! and the live table is drawn in its place.

mod ctl_support;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use ctl_support::undisturbed;

/// The longest that a test waits for a text.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program in a session of its own, on a terminal of its own.
struct OnTerminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl OnTerminal {
    /// A shell script in which `$lockctl` is the program.
    fn start(script: &str) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let terminal = terminal.unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let path = ptsname(&terminal, Vec::new()).unwrap();
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            i32::try_from(OFlags::NOCTTY.bits()).unwrap(),
        );
        let slave = options
            .read(true)
            .write(true)
            .open(path.to_str().unwrap())
            .unwrap();
        let mut command = undisturbed("setsid");
        command
            .args(["--ctty", "--wait", "sh", "-c", script])
            .env("lockctl", env!("CARGO_BIN_EXE_lockctl"))
            .env("LOCK_URL", "memory:")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        let child = command.spawn().unwrap();
        drop(command);
        let keyboard = File::from(terminal);
        let mut reader = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with an error when nobody is left at the other end.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard,
            screen,
            seen: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for a text that was not seen yet.
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.seen.find(text) {
                self.seen.drain(..place + text.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} does not come: {:?}", self.seen),
            }
        }
    }

    fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn the_command_reads_the_terminal() {
    let mut shell = OnTerminal::start(
        "$lockctl run a -- sh -c 'echo begun; read x; echo one-$x; exit 3'; \
         echo code-$?; read x; echo two-$x",
    );
    shell.expect("begun");
    shell.press("hello\n");
    shell.expect("one-hello");
    shell.expect("code-3");
    // It was given back.
    shell.press("again\n");
    shell.expect("two-again");
    assert_eq!(shell.end(), Some(0));
}

#[test]
fn a_command_before_a_pipe_reads_it_when_it_asks() {
    let mut shell =
        OnTerminal::start("$lockctl run a -- sh -c 'echo begun; read x; echo got-$x' | cat");
    shell.expect("begun");
    shell.press("hello\n");
    shell.expect("got-hello");
    assert_eq!(shell.end(), Some(0));
}

#[test]
fn control_c_ends_the_command() {
    // With the terminal, and without: before a pipe.
    for pipe in ["", "| cat"] {
        let script = format!(
            "trap '' INT; (trap - INT; exec $lockctl run a -- sh -c 'echo begun; exec sleep 1000'; \
             ) {pipe}; echo over"
        );
        let mut shell = OnTerminal::start(&script);
        shell.expect("begun");
        shell.press("\u{3}");
        shell.expect("over");
        shell.end();
    }
}

#[test]
fn control_z_stops_both_and_fg_continues_both() {
    for pipe in ["", "| cat"] {
        let script = format!(
            "set -m; $lockctl run a -- sh -c 'echo begun; read x; echo got-$x' {pipe}; \
             echo stopped; fg; echo over"
        );
        let mut shell = OnTerminal::start(&script);
        shell.expect("begun");
        shell.press("\u{1a}");
        shell.expect("stopped");
        shell.press("hello\n");
        shell.expect("got-hello");
        shell.expect("over");
        assert_eq!(shell.end(), Some(0));
    }
}

#[test]
fn control_z_without_a_shell_to_come_back_to_stops_nothing() {
    let mut command =
        OnTerminal::start("exec $lockctl run a -- sh -c 'echo begun; read x; echo got-$x; exit 4'");
    command.expect("begun");
    command.press("\u{1a}hello\n");
    command.expect("got-hello");
    assert_eq!(command.end(), Some(4));
}

#[test]
fn a_watch_is_drawn_in_its_place() {
    let mut shell = OnTerminal::start("exec $lockctl watch --interval 100ms");
    shell.expect("\u{1b}[?7l\rNAME  STATE");
    shell.expect("\u{1b}[J\u{1b}[?7h");
    shell.expect("\u{1b}[?7l\r\u{1b}[1ANAME  STATE");
    shell.press("\u{3}");
    assert_eq!(shell.end(), Some(130));
}
