//! A way to a server that is disturbed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use servers::{Proxy, Redis, eventually};

const LONG: Duration = Duration::from_secs(30);

/// How long nothing comes. Were it too short, a fault could be missed, but none be seen that is not
/// there.
const QUIET: Duration = Duration::from_millis(100);

/// Says of each connection what comes, and says it back.
struct Echo {
    port: u16,
    connections: Receiver<Receiver<Vec<u8>>>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("free");
        let port = listener.local_addr().expect("bound").port();
        let (connected, connections) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (heard, hears) = mpsc::channel();
                thread::spawn(move || {
                    let (mut from, mut to) = (&stream, &stream);
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = from.read(&mut buffer) {
                        drop(heard.send(buffer[..read].to_vec()));
                        drop(to.write_all(&buffer[..read]));
                    }
                });
                if connected.send(hears).is_err() {
                    return;
                }
            }
        });
        Self { port, connections }
    }

    /// What comes through the next connection.
    fn next(&self) -> Receiver<Vec<u8>> {
        self.connections.recv_timeout(LONG).expect("connected")
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("set");
    stream.set_nodelay(true).expect("set");
    stream
}

fn send(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("sent");
}

#[track_caller]
fn receive(mut stream: &TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).expect("it comes");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

#[track_caller]
fn receive_nothing(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(QUIET)).expect("set");
    let error = stream.read(&mut [0]).expect_err("neither bytes nor an end");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(LONG)).expect("set");
}

#[track_caller]
fn is_hung_up(mut stream: &TcpStream) {
    assert_eq!(stream.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn bytes_pass_and_connections_are_counted() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    assert_eq!(proxy.connections(), 0);
    let (one, other) = (connect(&proxy), connect(&proxy));
    let much: String = ('a'..='z').cycle().take(1_000_000).collect();
    thread::scope(|scope| {
        scope.spawn(|| send(&one, &much));
        receive(&one, &much);
    });
    send(&other, "other");
    receive(&other, "other");
    assert_eq!(proxy.connections(), 2);
    other.shutdown(Shutdown::Write).expect("open");
    is_hung_up(&other);
}

#[test]
fn bytes_are_late_and_stay_in_order() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let stream = connect(&proxy);
    let delay = Duration::from_millis(150);
    let start = Instant::now();
    proxy.to_client().delay(delay);
    send(&stream, "one");
    receive(&stream, "one");
    assert!(start.elapsed() >= delay);
    let heard = echo.next();
    assert_eq!(heard.recv_timeout(LONG).expect("heard"), b"one");
    proxy.to_server().delay(delay);
    send(&stream, "two");
    // It is on its way before the next is faster.
    thread::sleep(Duration::from_millis(50));
    proxy.to_server().pass();
    proxy.to_client().pass();
    send(&stream, "three");
    receive(&stream, "twothree");
}

#[test]
fn what_is_cut_is_hung_up_on_and_refused() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let old = connect(&proxy);
    send(&old, "old");
    receive(&old, "old");
    let heard = echo.next();
    for _ in 0..3 {
        proxy.cut();
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()));
        let refused = refused.expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    is_hung_up(&old);
    assert_eq!(heard.recv_timeout(LONG).expect("heard"), b"old");
    heard
        .recv_timeout(LONG)
        .expect_err("the server was hung up on");
    proxy.mend();
    let new = connect(&proxy);
    send(&new, "new");
    receive(&new, "new");
    assert_eq!(proxy.connections(), 2);
}

#[test]
fn what_is_reset_is_told_so() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let mut old = connect(&proxy);
    send(&old, "old");
    receive(&old, "old");
    proxy.reset();
    let error = old.read(&mut [0]).expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let new = connect(&proxy);
    send(&new, "new");
    receive(&new, "new");
}

#[test]
fn a_black_hole_swallows_and_says_nothing() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let old = connect(&proxy);
    send(&old, "old");
    receive(&old, "old");
    let heard = echo.next();
    assert_eq!(heard.recv_timeout(LONG).expect("heard"), b"old");
    proxy.black_hole();
    send(&old, "lost");
    let begun = connect(&proxy);
    send(&begun, "lost");
    receive_nothing(&begun);
    receive_nothing(&old);
    proxy.mend();
    send(&old, "lost too");
    send(&begun, "lost too");
    receive_nothing(&old);
    receive_nothing(&begun);
    // Not even that the client is gone.
    drop(old);
    let nothing = heard.recv_timeout(QUIET).expect_err("swallowed");
    assert_eq!(nothing, mpsc::RecvTimeoutError::Timeout);
    let new = connect(&proxy);
    send(&new, "new");
    receive(&new, "new");
    assert_eq!(proxy.connections(), 3);
}

#[test]
fn a_black_hole_has_a_direction() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    proxy.to_client().black_hole();
    let stream = connect(&proxy);
    send(&stream, "text");
    let heard = echo.next().recv_timeout(LONG);
    assert_eq!(heard.expect("heard"), b"text");
    receive_nothing(&stream);

    proxy.mend();
    proxy.to_server().black_hole();
    let stream = connect(&proxy);
    send(&stream, "text");
    let heard = echo.next().recv_timeout(QUIET);
    assert_eq!(heard, Err(mpsc::RecvTimeoutError::Timeout));
    receive_nothing(&stream);
}

#[test]
fn a_half_closed_connection_goes_on_in_one_direction() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let stream = connect(&proxy);
    send(&stream, "one");
    receive(&stream, "one");
    let heard = echo.next();
    proxy.to_client().half_close();
    is_hung_up(&stream);
    send(&stream, "two");
    assert_eq!(heard.recv_timeout(LONG).expect("heard"), b"one");
    assert_eq!(heard.recv_timeout(LONG).expect("still heard"), b"two");
}

#[test]
fn bytes_come_one_by_one() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    proxy.to_server().slice();
    let stream = connect(&proxy);
    let text: String = ('a'..='z').cycle().take(5000).collect();
    send(&stream, &text);
    receive(&stream, &text);
    let pieces = echo.next().try_iter().count();
    assert!(pieces > 10, "{pieces} pieces");
}

#[test]
fn a_client_of_a_server_that_is_gone_is_hung_up_on() {
    let mut redis = Redis::start();
    let proxy = Proxy::to(redis.port());
    assert_eq!(
        proxy.url(&redis.url()),
        format!("redis://127.0.0.1:{}", proxy.port())
    );
    let stream = connect(&proxy);
    send(&stream, "PING\r\n");
    receive(&stream, "+PONG\r\n");
    redis.kill();
    is_hung_up(&stream);
    is_hung_up(&connect(&proxy));
    redis.start_again();
    let stream = connect(&proxy);
    send(&stream, "PING\r\n");
    receive(&stream, "+PONG\r\n");
}

#[test]
fn nothing_is_left_of_one_that_is_dropped() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let stream = connect(&proxy);
    send(&stream, "text");
    receive(&stream, "text");
    let port = proxy.port();
    drop(proxy);
    is_hung_up(&stream);
    eventually("nobody listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
    });
}
