//! One server of PostgreSQL.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use servers::{PgBouncer, Postgres};

#[test]
fn it_answers_and_keeps_its_data() {
    let mut postgres = Postgres::start();
    postgres.query("create table kept (one int); insert into kept values (1)");
    postgres.kill();
    assert!(postgres.try_query("select 1").is_err());
    postgres.start_again();
    assert_eq!(postgres.query("select * from kept"), "1");
    postgres.restart();
    assert_eq!(postgres.query("select * from kept"), "1");
}

#[test]
fn it_has_settings() {
    let postgres = Postgres::options().max_connections(7).start();
    assert_eq!(postgres.query("show max_connections"), "7");
}

/// Asks with a URL, as a user would.
fn ask(url: &str, query: &str) -> Result<String, String> {
    let mut client = Command::new("psql");
    let output = client
        .args(["-X", "-A", "-t", "-q", "-c", query, url])
        .output()
        .expect("it runs");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn others_than_the_superuser_need_their_password() {
    let postgres = Postgres::shared();
    assert_eq!(
        ask(&postgres.url(), "select current_user"),
        Ok("postgres".to_owned())
    );
    postgres.query("create role locker login password 'secret'");
    postgres.query("create database locks");
    let url = postgres.url_of("locker:secret", "locks");
    assert_eq!(ask(&url, "select current_user"), Ok("locker".to_owned()));
    let refused = ask(&postgres.url_of("locker:wrong", "locks"), "select 1");
    let refused = refused.expect_err("a wrong password");
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
}

#[test]
fn it_speaks_tls_and_nothing_else() {
    let postgres = Postgres::options().tls().start();
    let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let url = postgres.url();
    assert!(url.ends_with("?sslmode=require"));
    assert_eq!(ask(&url, query), Ok("t".to_owned()));
    let authority = postgres.certificates().authority().display();
    let verified = url.replace("require", &format!("verify-full&sslrootcert={authority}"));
    assert_eq!(ask(&verified, query), Ok("t".to_owned()));
    let refused = ask(&url.replace("require", "disable"), query).expect_err("no TLS");
    assert!(refused.contains("no encryption"), "{refused}");
}

#[test]
fn it_wants_a_certificate_for_the_user() {
    let postgres = Postgres::options().client_certificates().start();
    let certificates = postgres.certificates();
    let shown = |(certificate, key): (&Path, &Path)| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("{}&sslcert={certificate}&sslkey={key}", postgres.url())
    };
    let query = "select current_user";
    let own = ask(&shown(certificates.client()), query);
    assert_eq!(own, Ok("postgres".to_owned()));
    let refused = ask(&postgres.url(), query).expect_err("no certificate");
    assert!(refused.contains("valid client certificate"), "{refused}");
    let refused = ask(&shown(certificates.server()), query).expect_err("of another user");
    assert!(refused.contains("authentication failed"), "{refused}");
}

#[test]
fn one_that_is_paused_is_paused_with_its_sessions() {
    let mut postgres = Postgres::start();
    let mut session = Command::new("psql")
        .args(["-X", "-A", "-t", "-q", &postgres.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut queries = session.stdin.take().expect("piped");
    let answers = BufReader::new(session.stdout.take().expect("piped")).lines();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || answers.for_each(|answer| drop(sender.send(answer.expect("text")))));

    writeln!(queries, "select 1;").expect("sent");
    assert_eq!(receiver.recv().expect("an answer"), "1");
    postgres.pause();
    writeln!(queries, "select 2;").expect("sent");
    let quiet = receiver.recv_timeout(Duration::from_millis(100));
    assert_eq!(quiet, Err(RecvTimeoutError::Timeout));
    postgres.resume();
    assert_eq!(receiver.recv().expect("an answer"), "2");
    drop(queries);
    assert!(session.wait().expect("it ends").success());
}

#[test]
fn pgbouncer_gives_a_connection_to_others_after_a_transaction() {
    let postgres = Postgres::start();
    let mut bouncer = PgBouncer::before(&postgres);
    let url = bouncer.url();
    // Without it the lock would go with the session.
    assert_eq!(ask(&url, "select pg_advisory_lock(1)"), Ok(String::new()));
    let held = "select count(*) from pg_locks where locktype = 'advisory'";
    assert_eq!(postgres.query(held), "1");
    bouncer.restart();
    assert_eq!(ask(&bouncer.url(), "select 1"), Ok("1".to_owned()));
    bouncer.kill();
    assert!(ask(&url, "select 1").is_err());
    bouncer.start_again();
    assert_eq!(ask(&url, "select 1"), Ok("1".to_owned()));
}
