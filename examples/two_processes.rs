//! Several processes of one host, with their locks in the daemon `lockd`.
//!
//! Watch: three processes count in one file, first without locks and then with them. Then one of
//! them is killed while it holds a lock, and the next is in at once, long before the lease would
//! have ended. At last the daemon itself is killed and started again in the middle: who holds a
//! lock goes on with it, and nobody else gets in.
//!
//! All of these processes are this very program, started again; the daemon too, which is
//! otherwise the program `lockd` of the package `lockd`.
//!
//! `cargo run -p examples --example two_processes`

use std::error::Error;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use lock_runtime::{LockError, LockManager, locked, set_lock_manager};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const WORKERS: usize = 3;
const COUNTS_OF_EACH: u64 = 100;

/// What a process that this program starts is to be; without it, it is the one that starts them.
const ROLE: &str = "TWO_PROCESSES_ROLE";
/// The file that the processes count in.
const FILE: &str = "TWO_PROCESSES_FILE";

/// Nothing in here takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

type Anything<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let role = std::env::var(ROLE).unwrap_or_default();
    if role == "daemon" {
        // Its own arguments are in this program's.
        std::thread::spawn(end_with_who_started_us);
        return lockd::daemon::main();
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let done = runtime.block_on(async {
        match role.as_str() {
            "" => show().await,
            "worker" => work().await,
            "cashier" => open_the_till().await,
            role => Err(format!("there is no role `{role}`").into()),
        }
    });
    // What waits for a line of the input must not keep the process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The daemon must not stay when the example is stopped with Ctrl-C.
fn end_with_who_started_us() {
    let _closed = io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

// What the workers do.

/// Reads a number, and writes the next one a little later.
#[locked("counter")]
async fn count(file: &Path) -> io::Result<()> {
    let number = read(file)?;
    tokio::time::sleep(Duration::from_micros(500)).await;
    write(file, number + 1)
}

async fn work() -> Anything<()> {
    let (file, mut input) = enter_service().await?;
    println!("ready");
    input.next_line().await?;
    for _ in 0..COUNTS_OF_EACH {
        count(&file).await?;
    }
    Ok(())
}

/// Counts on and on, until there is a line of input. Nobody else may open the till meanwhile.
#[locked("till", guard = held)]
async fn sell(file: &Path, input: &mut Lines<BufReader<Stdin>>) -> io::Result<()> {
    let token = held.fencing_token().expect("an exclusive lock has one");
    println!("in {}", u64::from(token));
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    loop {
        tokio::select! {
            _ = ticks.tick() => write(file, read(file)? + 1)?,
            line = input.next_line() => {
                line?;
                println!("out");
                return Ok(());
            }
        }
    }
}

async fn open_the_till() -> Anything<()> {
    let (file, mut input) = enter_service().await?;
    sell(&file, &mut input).await?;
    Ok(())
}

/// What every service does first.
async fn enter_service() -> Anything<(PathBuf, Lines<BufReader<Stdin>>)> {
    // Without `LOCK_URL` there is no manager, and no lock.
    if let Some(manager) = LockManager::from_env().await? {
        set_lock_manager(manager)?;
    }
    let file = std::env::var_os(FILE).ok_or("the file to count in is not named")?;
    let input = BufReader::new(tokio::io::stdin()).lines();
    Ok((file.into(), input))
}

fn read(file: &Path) -> io::Result<u64> {
    fs::read_to_string(file)?
        .trim()
        .parse()
        .map_err(io::Error::other)
}

/// Whoever reads finds the old number or the new one, and never half of it.
fn write(file: &Path, number: u64) -> io::Result<()> {
    let new = file.with_extension(std::process::id().to_string());
    fs::write(&new, number.to_string())?;
    fs::rename(new, file)
}

// What is shown.

async fn show() -> Anything<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let file = folder.join("count");

    let all = WORKERS as u64 * COUNTS_OF_EACH;
    println!("{WORKERS} processes count in one file, {COUNTS_OF_EACH} times each.");
    let counted = count_together(&file, None).await?;
    let lost = all - counted;
    println!("Without locks: {counted} counted, {lost} lost.");
    assert!(lost > 0, "counts that overlap overwrite each other");

    let (mut daemon, url) = start_daemon(folder).await?;
    let number = daemon.pid();
    println!("The daemon runs as process {number}, and keeps the locks of {WORKERS} others:");
    let start = Instant::now();
    let counted = count_together(&file, Some(&url)).await?;
    let lost = all - counted;
    println!(
        "With locks:    {counted} counted, {lost} lost, in {}.",
        shown(start.elapsed())
    );
    assert_eq!(lost, 0);

    println!("\nOne process holds the lock `till`, another waits for it.");
    let locks = LockManager::connect(&url).await?;
    let mut first = Process::start("cashier", &file, Some(&url))?;
    let first_token = first.entered().await?;
    let mut second = Process::start("cashier", &file, Some(&url))?;
    let lease_left = someone_waits(&locks).await?;
    let start = Instant::now();
    first.kill().await?;
    let token = second.entered().await?;
    println!(
        "kill -9 {}: the other was in after {}; the lease would have run for another {}.",
        first.pid(),
        shown(start.elapsed()),
        shown(lease_left)
    );
    println!("Its fencing token is {token}, after {first_token}.");
    assert!(token > first_token);
    assert!(start.elapsed() < lease_left, "not the lease was waited for");

    println!("\nIt goes on counting under its lock, and a third process waits.");
    let mut third = Process::start("cashier", &file, Some(&url))?;
    someone_waits(&locks).await?;
    let before = read(&file)?;
    let start = Instant::now();
    daemon.kill().await?;
    // This is what a service manager does.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (daemon, _) = start_daemon(folder).await?;
    let away = start.elapsed();
    let meanwhile = read(&file)? - before;
    println!(
        "kill -9 {number}: there was no daemon for {}; the holder counted {meanwhile} times.",
        shown(away)
    );
    assert!(meanwhile > 0, "the holder goes on");
    holds_again(&locks, token).await?;
    println!(
        "{} after the new daemon, process {}, was there, it knew the holder again: token {token}.",
        shown(start.elapsed() - away),
        daemon.pid()
    );
    let waits = tokio::time::timeout(Duration::ZERO, third.line()).await;
    assert!(waits.is_err(), "the third one is not in");
    let start = Instant::now();
    second.leave().await?;
    let third_token = third.entered().await?;
    println!(
        "Only when the holder left was the third in, {} later: token {third_token}.",
        shown(start.elapsed())
    );
    assert!(third_token > token);
    third.leave().await?;
    println!("Nothing was lost, and nobody was let in too early.");
    Ok(())
}

/// Has processes count together, and returns how far they came.
async fn count_together(file: &Path, url: Option<&str>) -> Anything<u64> {
    write(file, 0)?;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(Process::start("worker", file, url)?);
    }
    // So that all of them begin at the same time.
    for worker in &mut workers {
        worker.expect("ready").await?;
    }
    for worker in &mut workers {
        worker.say_go().await?;
    }
    for worker in workers {
        worker.ended().await?;
    }
    Ok(read(file)?)
}

/// Returns when one waits for the till, and says how much of the holder's lease is left.
async fn someone_waits(locks: &LockManager) -> Anything<Duration> {
    until("nobody waits", async || {
        let info = locks.lock("till").info().await?;
        let lease_left = info.section().and_then(|section| section.expires_in);
        Ok(lease_left.filter(|_| info.waiting == 1))
    })
    .await
}

/// Returns when the daemon says that the till is held with this token.
async fn holds_again(locks: &LockManager, token: u64) -> Anything<()> {
    until("the holder does not come back", async || {
        let info = locks.lock("till").info().await?;
        let held = info.section().and_then(|section| section.token);
        Ok(held.filter(|held| u64::from(*held) == token).map(drop))
    })
    .await
}

/// Looks until there is something.
async fn until<T>(
    otherwise: &str,
    look: impl AsyncFn() -> Result<Option<T>, LockError>,
) -> Anything<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            // The daemon was away just now.
            Err(error) if error.is_unavailable() => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(otherwise.into())
}

fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// A process that was started, and that ends with this one at the latest.
struct Process {
    child: Child,
    pid: u32,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// The daemon, and the URL for those who keep their locks there.
async fn start_daemon(folder: &Path) -> Anything<(Process, String)> {
    let mut command = this_program("daemon")?;
    command.arg("--socket").arg(folder.join("lockd.sock"));
    command.arg("--state").arg(folder.join("lockd.state"));
    command.args(["--log", "error"]);
    let mut daemon = Process::spawn(command)?;
    let line = daemon.line().await?;
    let url = line
        .strip_prefix("lockd listens on ")
        .ok_or_else(|| format!("lockd says {line:?}"))?;
    let url = url.to_owned();
    Ok((daemon, url))
}

/// This program once more, with an environment that says nothing of locks.
fn this_program(role: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let of_locks = ["LOCK_", "LOCKD_", "LISTEN_"];
        let of_locks = of_locks.iter().any(|prefix| name.starts_with(prefix));
        if of_locks || name == "NOTIFY_SOCKET" {
            command.env_remove(variable);
        }
    }
    command.env(ROLE, role);
    Ok(command)
}

impl Process {
    fn start(role: &str, file: &Path, url: Option<&str>) -> Anything<Self> {
        let mut command = this_program(role)?;
        command.env(FILE, file);
        if let Some(url) = url {
            command.env("LOCK_URL", url);
        }
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Anything<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let pid = child.id().ok_or("it has ended already")?;
        let input = child.stdin.take().ok_or("it has no input")?;
        let output = child.stdout.take().ok_or("it has no output")?;
        let output = BufReader::new(output).lines();
        Ok(Self {
            child,
            pid,
            input,
            output,
        })
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    /// The next line that it writes.
    async fn line(&mut self) -> Anything<String> {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await??;
        line.ok_or_else(|| "a process has ended too early".into())
    }

    async fn expect(&mut self, word: &str) -> Anything<()> {
        match self.line().await? {
            line if line == word => Ok(()),
            line => Err(format!("a process says {line:?}").into()),
        }
    }

    /// Waits until it is in the till, and returns its fencing token.
    async fn entered(&mut self) -> Anything<u64> {
        let line = self.line().await?;
        let token = line.strip_prefix("in ").ok_or("it is not in")?;
        Ok(token.parse()?)
    }

    async fn say_go(&mut self) -> io::Result<()> {
        self.input.write_all(b"\n").await
    }

    /// Has it leave the till and end.
    async fn leave(mut self) -> Anything<()> {
        self.say_go().await?;
        self.expect("out").await?;
        self.ended().await
    }

    async fn ended(mut self) -> Anything<()> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        if status.success() {
            Ok(())
        } else {
            Err(format!("a process ended with {status}").into())
        }
    }

    /// `kill -9`.
    async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }
}
