//! Requests that arrive late, and after those that were made later.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use servers::Redis;

use crate::harness::{connected, seconds};

/// Hears all that a server is asked.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn to(server: &Redis) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(seconds(30))).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut heard = Self(BufReader::new(stream));
        assert!(heard.line().contains("OK"));
        heard
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// The next script that is run, as it was asked for.
    fn script(&mut self) -> Vec<String> {
        loop {
            let line = self.line();
            // What a script asks for itself is said to come from `lua`.
            if let Some((_, words)) = line.split_once("] \"EVALSHA\"") {
                return words_of(words);
            }
        }
    }
}

/// Words in quotes, in which quotes and backslashes have a backslash before them.
fn words_of(line: &str) -> Vec<String> {
    let mut words = vec!["EVALSHA".to_owned()];
    let mut letters = line.chars();
    while letters.by_ref().any(|letter| letter == '"') {
        let mut word = String::new();
        while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
            word.push(match letter {
                '\\' => letters.next().unwrap(),
                letter => letter,
            });
        }
        words.push(word);
    }
    words
}

/// Asks the server the same again, as a copy that was held up does.
fn repeat(server: &Redis, script: &[String]) -> String {
    let words: Vec<&str> = script.iter().map(String::as_str).collect();
    server.command(&words)
}

fn milliseconds_left(server: &Redis) -> i64 {
    let left = server.command(&["PTTL", "lock:{0}:name:/name"]);
    left.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_question_does_not_cut_an_extended_lease_short() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    manager.lock("warm").run(async || ()).await.unwrap();
    let mut heard = Listener::to(&server);
    let request = manager.lock("name").ttl(seconds(5)).renew(false);
    let guard = request.acquire().await.unwrap();
    let question = heard.script();
    guard.extend(seconds(3600)).await.unwrap();
    let token = guard.fencing_token().unwrap().to_string();
    assert_eq!(repeat(&server, &question), format!("granted\n{token}"));
    assert!(milliseconds_left(&server) > 3_000_000);
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_renewal_does_not_cut_an_extended_lease_short() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    for is_shared in [false, true] {
        let request = manager.lock("name").ttl(seconds(60)).renew(false);
        let request = if is_shared { request.shared() } else { request };
        let guard = request.acquire().await.unwrap();
        let mut heard = Listener::to(&server);
        guard.extend(seconds(5)).await.unwrap();
        let renewal = heard.script();
        guard.extend(seconds(3600)).await.unwrap();
        // It is still held, which is what is answered.
        assert_eq!(repeat(&server, &renewal), "1");
        assert!(milliseconds_left(&server) > 3_000_000);
        guard.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_adoption_does_not_cut_an_extended_lease_short() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let guard = manager.lock("name").acquire().await.unwrap();
    let ticket = guard.into_ticket().unwrap();
    let mut heard = Listener::to(&server);
    let request = manager.lock("name").ttl(seconds(5)).renew(false);
    let guard = request.adopt(ticket).await.unwrap();
    let question = heard.script();
    guard.extend(seconds(3600)).await.unwrap();
    let token = guard.fencing_token().unwrap().to_string();
    assert_eq!(repeat(&server, &question), token);
    assert!(milliseconds_left(&server) > 3_000_000);
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_adoption_by_who_has_gone_takes_nothing() {
    const LOCK: &str = "lock:{0}:name:/name";
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let guard = manager.lock("name").acquire().await.unwrap();
    let ticket = guard.into_ticket().unwrap();
    let before = server.command(&["GET", LOCK]);
    let mut heard = Listener::to(&server);
    let guard = manager.lock("name").adopt(ticket).await.unwrap();
    let question = heard.script();
    guard.release().await.unwrap();
    // As it is when the release came first: the giver has it, and the taker is refused.
    server.command(&["SET", LOCK, &before, "PX", "60000"]);
    let taker = &question[6];
    let refusal = format!("lock:{{0}}:refused:{taker}");
    server.command(&["SET", &refusal, "", "PX", "60000"]);
    assert_eq!(repeat(&server, &question), "-1");
    assert_eq!(server.command(&["GET", LOCK]), before);
}

/// Those who are refused cost a lock nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_not_kept_with_the_lock() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    for _ in 0..20 {
        let guard = manager.lock("name").acquire().await.unwrap();
        assert_eq!(manager.lock("name").force_release().await.unwrap(), 1);
        assert!(guard.release().await.unwrap_err().is_lost());
    }
    assert_eq!(server.command(&["EXISTS", "lock:{0}:name:/name"]), "0");
    let refused = server.command(&["KEYS", "lock:{0}:refused:*"]);
    assert_eq!(refused.lines().count(), 20);
    for key in refused.lines() {
        let left: i64 = server.command(&["PTTL", key]).parse().unwrap();
        assert!((1..=120_000).contains(&left), "{left}");
    }
}
