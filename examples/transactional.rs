//! A frozen process that cannot write after its lease: locks and data in one PostgreSQL database.
//!
//! Watch: a clerk takes the lock of an account, reads its balance in a transaction, and is frozen.
//! Its lease ends, another clerk gets the lock and changes the balance. When the first one wakes
//! up it goes on as if nothing had happened, writes what it had worked out, and commits: the
//! server refuses, because the transaction was tied to the lock by `held.verify`. No fencing token
//! has to be kept with the data.
//!
//! The frozen clerk is this very program, started again and stopped by a signal.
//!
//! `LOCK_URL=postgres://postgres@localhost/postgres cargo run -p examples --features postgres
//! --example transactional`

use std::error::Error;
use std::process::{ExitCode, Stdio};

use lock_runtime::{LockManager, locked, set_lock_manager};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls};

/// What a process that this program starts is to be; without it, it is the one that starts it.
const ROLE: &str = "TRANSACTIONAL_ROLE";

type Anything<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let url = std::env::var("LOCK_URL").ok();
    let Some(url) = url.filter(|url| url.starts_with("postgres")) else {
        println!("This needs a PostgreSQL server, and changes a table of its own there:");
        println!("LOCK_URL=postgres://postgres@localhost/postgres");
        return ExitCode::SUCCESS;
    };
    let done = match std::env::var(ROLE).as_deref() {
        Ok("frozen") => be_frozen(&url).await,
        _ => show(&url).await,
    };
    match done {
        // What waits for a line of the input must not keep the process.
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the balance, thinks about it, and writes a higher one.
///
/// `on_lost = finish` keeps the body going, as a body goes on where nobody looks in time: it is
/// the server that stops it.
#[locked("account:{account}", ttl = "1s", guard = held, on_lost = finish)]
async fn deposit<T: Future<Output = Anything<()>>>(
    database: &mut Client,
    account: i32,
    amount: i32,
    thinks: T,
) -> Anything<()> {
    let mut transaction = database.transaction().await?;
    held.verify(&mut transaction).await?;
    let select = "SELECT balance FROM transactional_accounts WHERE id = $1";
    let balance: i32 = transaction.query_one(select, &[&account]).await?.get(0);
    thinks.await?;
    let update = "UPDATE transactional_accounts SET balance = $1 WHERE id = $2";
    transaction
        .execute(update, &[&(balance + amount), &account])
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Takes the lock, reads, and says so; goes on when it is told to.
async fn be_frozen(url: &str) -> Anything<()> {
    set_lock_manager(LockManager::connect(url).await?)?;
    let mut database = connect(url).await?;
    let thinks = async {
        println!("read");
        let mut line = String::new();
        let mut input = BufReader::new(tokio::io::stdin());
        input.read_line(&mut line).await?;
        Ok(())
    };
    match deposit(&mut database, 7, 1_000, thinks).await {
        Ok(()) => println!("it committed"),
        // What the server says is behind what its client says.
        Err(error) => println!("{}", error.source().unwrap_or(&*error)),
    }
    Ok(())
}

async fn show(url: &str) -> Anything<()> {
    let mut database = connect(url).await?;
    let table = "DROP TABLE IF EXISTS transactional_accounts;
        CREATE TABLE transactional_accounts (id int PRIMARY KEY, balance int NOT NULL);
        INSERT INTO transactional_accounts VALUES (7, 100)";
    database.batch_execute(table).await?;
    set_lock_manager(LockManager::connect(url).await?)?;

    println!("The balance is 100. A clerk who is to add 1000 has read it, and is frozen.");
    let mut frozen = start()?;
    let mut lines = BufReader::new(frozen.stdout.take().ok_or("no output")?).lines();
    let line = lines.next_line().await?;
    assert_eq!(line.as_deref(), Some("read"));
    signal(&frozen, "-STOP").await?;

    println!("Another one adds 5, as soon as the lease of the first is over.");
    deposit(&mut database, 7, 5, async { Ok(()) }).await?;

    signal(&frozen, "-CONT").await?;
    let mut input = frozen.stdin.take().ok_or("no input")?;
    input.write_all(b"go on\n").await?;
    let said = lines.next_line().await?.unwrap_or_default();
    println!("The first one goes on, and commits: {said}");
    frozen.wait().await?;

    let select = "SELECT balance FROM transactional_accounts";
    let balance: i32 = database.query_one(select, &[]).await?.get(0);
    println!("The balance is {balance}.");
    assert_eq!(balance, 105);
    database
        .batch_execute("DROP TABLE transactional_accounts")
        .await?;
    Ok(())
}

/// Starts this program again, as the clerk who is to be frozen.
fn start() -> Anything<Child> {
    let child = Command::new(std::env::current_exe()?)
        .env(ROLE, "frozen")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

async fn signal(process: &Child, signal: &str) -> Anything<()> {
    let number = process.id().ok_or("it has ended")?.to_string();
    let kill = Command::new("kill").args([signal, &number]).status();
    assert!(kill.await?.success());
    Ok(())
}

/// A connection for the data, which the locks have nothing to do with.
async fn connect(url: &str) -> Anything<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
