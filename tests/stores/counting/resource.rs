//! What the processes increment: a number that checks tokens, in a file, and where the store is
//! PostgreSQL in a row as well.
//!
//! It is told the token when it is read, too: otherwise somebody who is late could write after
//! the next one has read.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

/// Every access that it has allowed is a line of the file: `read` and a token, or `written`, a
/// token, the number, and the process.
pub(crate) struct CountedFile(PathBuf);

#[derive(Default)]
struct Lines {
    token: u64,
    number: u64,
}

impl CountedFile {
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The number, unless somebody has come since.
    pub(crate) fn read(&self, token: u64) -> Option<u64> {
        self.access(|lines| {
            let is_later = token > lines.token;
            is_later.then(|| (lines.number, format!("read {token}\n")))
        })
    }

    /// Whether it took the number.
    pub(crate) fn write(&self, token: u64, number: u64) -> bool {
        let process = std::process::id();
        let written = self.access(|lines| {
            let is_last = token == lines.token;
            is_last.then(|| ((), format!("written {token} {number} {process}\n")))
        });
        written.is_some()
    }

    /// The last token that it was shown.
    pub(crate) fn token(&self) -> u64 {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        Lines::of(&text).token
    }

    /// One access at a time. Who is killed in the middle has done it, or has not.
    fn access<T>(&self, judge: impl FnOnce(&Lines) -> Option<(T, String)>) -> Option<T> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(&self.0);
        let file = file.as_mut().expect("opened");
        file.lock().expect("locked");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        let (result, line) = judge(&Lines::of(&text))?;
        let length = file.write(line.as_bytes()).expect("written");
        assert_eq!(length, line.len());
        Some(result)
    }

    /// How much each process has written, all of which has to be there still.
    pub(crate) fn judge(&self) -> BTreeMap<u32, usize> {
        let text = fs::read_to_string(&self.0).expect("read");
        let written = text
            .lines()
            .filter_map(|line| line.strip_prefix("written "));
        judge(written.map(|line| {
            let mut numbers = line.split(' ').map(|word| word.parse().expect("a number"));
            [(); 3].map(|()| numbers.next().expect("three numbers"))
        }))
    }
}

impl Lines {
    fn of(text: &str) -> Self {
        let mut lines = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let kind = words.next().expect("a word");
            let mut number = || words.next().expect("a word").parse().expect("a number");
            lines.token = number();
            if kind == "written" {
                lines.number = number();
            }
        }
        lines
    }
}

/// Checks lines of a token, the number, and the process: no increment is lost, and tokens rise.
fn judge(written: impl Iterator<Item = [u64; 3]>) -> BTreeMap<u32, usize> {
    let (mut last_token, mut last_number) = (0, 0);
    let mut by_process: BTreeMap<u32, usize> = BTreeMap::new();
    for [token, number, process] in written {
        assert!(token > last_token, "{token} was granted after {last_token}");
        assert_eq!(number, last_number + 1, "an update was lost");
        (last_token, last_number) = (token, number);
        *by_process.entry(process as u32).or_default() += 1;
    }
    by_process
}

/// The same in a table of PostgreSQL. Its statements can be repeated: whoever gets no answer,
/// because the server was killed, asks again.
pub(crate) struct CountedRow {
    url: String,
    client: Option<Client>,
}

impl CountedRow {
    pub(crate) fn at(url: &str) -> Self {
        let url = url.to_owned();
        Self { url, client: None }
    }

    pub(crate) async fn create(&mut self) {
        let sql = "CREATE TABLE counted (token bigint, number bigint);
            CREATE TABLE written (token bigint PRIMARY KEY, number bigint, process bigint);
            INSERT INTO counted VALUES (0, 0)";
        self.connected().await.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn read(&mut self, token: u64) -> Option<u64> {
        let sql = "UPDATE counted SET token = $1 WHERE token <= $1 RETURNING number";
        self.ask(sql, &[token]).await.first().map(|row| row[0])
    }

    pub(crate) async fn write(&mut self, token: u64, number: u64) -> bool {
        let sql = "WITH done AS (UPDATE counted SET number = $2 WHERE token = $1 RETURNING number),
                noted AS (INSERT INTO written SELECT $1, number, $3 FROM done
                    ON CONFLICT DO NOTHING)
            SELECT number FROM done";
        let process = u64::from(std::process::id());
        !self.ask(sql, &[token, number, process]).await.is_empty()
    }

    pub(crate) async fn judge(&mut self) -> BTreeMap<u32, usize> {
        let sql = "SELECT token, number, process FROM written ORDER BY number, token";
        let rows = self.ask(sql, &[]).await;
        judge(rows.into_iter().map(|row| row.try_into().expect("three")))
    }

    async fn connected(&mut self) -> &Client {
        while self.client.as_ref().is_none_or(Client::is_closed) {
            match tokio_postgres::connect(&self.url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    self.client = Some(client);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        self.client.as_ref().expect("connected")
    }

    /// Asks until there is an answer.
    async fn ask(&mut self, sql: &str, numbers: &[u64]) -> Vec<Vec<u64>> {
        let numbers: Vec<i64> = numbers.iter().map(|number| *number as i64).collect();
        let parameters: Vec<_> = numbers.iter().map(|number| number as _).collect();
        loop {
            match self.connected().await.query(sql, &parameters).await {
                Ok(rows) => {
                    let fields = |row: &tokio_postgres::Row| {
                        let fields = (0..row.len()).map(|field| row.get::<_, i64>(field) as u64);
                        fields.collect()
                    };
                    return rows.iter().map(fields).collect();
                }
                // The server was killed.
                Err(error) if error.is_closed() || is_shutdown(&error) => self.client = None,
                Err(error) => panic!("{sql}: {error}"),
            }
        }
    }
}

/// Whether a server has said that it goes, or that another of its processes has died.
fn is_shutdown(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_none_or(|code| code.code().starts_with("57P"))
}
