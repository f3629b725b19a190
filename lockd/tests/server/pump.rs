//! Connections over streams in memory, in simulated time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lockd::engine::{Engine, Limits, Peer, Saved, Snapshot};
use lockd::server::{Connection, Driver, Time};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use crate::client::acquire;

/// A daemon in this very thread.
struct World {
    driver: Rc<Driver>,
    /// What has to be saved and is not yet.
    unsaved: Rc<RefCell<Vec<Snapshot>>>,
}

struct Client {
    stream: BufReader<DuplexStream>,
    task: JoinHandle<()>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let time = Time::simulated();
        let engine = Engine::new(limits, &Saved::Nothing, "boot", time.now(), time.wall())
            .expect("nothing can be read");
        let unsaved = Rc::<RefCell<Vec<Snapshot>>>::default();
        let keep = Rc::clone(&unsaved);
        let save = Box::new(move |snapshot| keep.borrow_mut().push(snapshot));
        let driver = Driver::new(engine, time, save).expect("an alarm");
        let ticking = Rc::clone(&driver);
        spawn_local(async move { panic!("time has failed: {}", ticking.let_time_pass().await) });
        Self { driver, unsaved }
    }

    /// Saves everything that is to be saved, from now on at once.
    fn saves(&self) {
        let (driver, unsaved) = (Rc::clone(&self.driver), Rc::clone(&self.unsaved));
        spawn_local(async move {
            loop {
                let snapshots = unsaved.take();
                if let Some(last) = snapshots.last() {
                    driver.saved(last.number);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    fn connect(&self, room: usize) -> Client {
        let (ours, theirs) = duplex(room);
        let peer = Peer {
            uid: 7,
            pid: 0,
            process: None,
        };
        let task = spawn_local(Connection::new(&self.driver, theirs, peer));
        Client {
            stream: BufReader::new(ours),
            task,
        }
    }

    async fn greeted(&self, room: usize) -> Client {
        let mut client = self.connect(room);
        client.say(&json!({"hello": {"version": 1}})).await;
        assert!(client.hear().await["hello"].is_object());
        client
    }
}

impl Client {
    async fn say(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.stream.write_all(line.as_bytes()).await.expect("heard");
    }

    async fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect("said");
        serde_json::from_str(&line).expect("a line of JSON")
    }

    /// Hears everything until the end.
    async fn hear_out(mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).await.expect("said");
        self.task.await.expect("the task has ended");
        text
    }
}

fn simulate(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(test));
}

#[test]
fn a_message_may_come_in_any_pieces() {
    simulate(async {
        let world = World::new(Limits::default());
        let mut client = world.greeted(1024).await;
        for byte in b"{\"ping\":{\"id\":7}}\n" {
            client.stream.write_all(&[*byte]).await.expect("heard");
            tokio::task::yield_now().await;
        }
        assert_eq!(client.hear().await, json!({"pong": {"id": 7}}));
    });
}

#[test]
fn who_writes_a_lot_before_it_reads_does_not_stand_still() {
    simulate(async {
        // Much more than fits the pipe in either direction.
        let world = World::new(Limits::default());
        let mut client = world.greeted(64).await;
        let mut lines = String::new();
        for id in 0..2_000 {
            lines += &format!("{{\"ping\":{{\"id\":{id}}}}}\n");
        }
        client
            .stream
            .write_all(lines.as_bytes())
            .await
            .expect("heard");
        for id in 0..2_000 {
            assert_eq!(client.hear().await, json!({"pong": {"id": id}}));
        }
    });
}

#[test]
fn who_never_reads_is_disconnected_and_nobody_else() {
    simulate(async {
        let limits = Limits {
            output: 4096,
            ..Limits::default()
        };
        let world = World::new(limits);
        let mut deaf = world.greeted(64).await;
        let mut other = world.greeted(64).await;
        let line = b"{\"ping\":{\"id\":1}}\n";
        while deaf.stream.write_all(line).await.is_ok() {}
        deaf.task.await.expect("the task has ended");
        other.say(&json!({"ping": {"id": 2}})).await;
        assert_eq!(other.hear().await, json!({"pong": {"id": 2}}));
    });
}

#[test]
fn a_lease_ends_at_its_moment_and_the_next_is_served() {
    simulate(async {
        let world = World::new(Limits::default());
        world.saves();
        let mut holder = world.greeted(1024).await;
        let mut next = world.greeted(1024).await;
        holder.say(&acquire("a", 1, 0)).await;
        assert!(holder.hear().await["granted"].is_object());
        let begun = Instant::now();
        next.say(&acquire("a", 2, 3_600_000)).await;
        assert!(
            next.hear().await["granted"]["queued"]
                .as_bool()
                .expect("a flag")
        );
        // The lease is a minute long. Simulated timers count in milliseconds.
        let waited = begun.elapsed();
        let (least, most) = (Duration::from_secs(60), Duration::from_millis(60_010));
        assert!(
            waited >= least - Duration::from_millis(10) && waited <= most,
            "{waited:?}"
        );
        assert!(holder.hear().await["lost"].is_object());
    });
}

#[test]
fn what_is_not_saved_is_not_said() {
    simulate(async {
        let world = World::new(Limits::default());
        let mut client = world.greeted(1024).await;
        client.say(&acquire("a", 1, 0)).await;
        let early = tokio::time::timeout(Duration::from_secs(30), client.hear()).await;
        early.expect_err("it was answered before it was saved");
        world.saves();
        assert!(client.hear().await["granted"].is_object());
    });
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    simulate(async {
        let world = World::new(Limits::default());
        let begun = Instant::now();
        let silent = world.connect(1024);
        let said = silent.hear_out().await;
        assert!(said.contains("bye"), "{said}");
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_secs(5) && waited <= Duration::from_secs(6),
            "{waited:?}"
        );
    });
}

#[test]
fn who_does_not_take_the_last_words_is_left_without_them() {
    simulate(async {
        let world = World::new(Limits::default());
        // The goodbye does not fit.
        let silent = world.connect(4);
        let begun = Instant::now();
        silent.task.await.expect("the task has ended");
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_secs(6) && waited <= Duration::from_secs(7),
            "{waited:?}"
        );
    });
}

#[test]
fn a_connection_whose_task_is_dropped_has_ended() {
    simulate(async {
        let limits = Limits {
            connections: 1,
            ..Limits::default()
        };
        let world = World::new(limits);
        let first = world.greeted(1024).await;
        let refused = world.connect(1024).hear_out().await;
        assert!(refused.contains("limit"), "{refused}");
        first.task.abort();
        first.task.await.expect_err("it was aborted");
        world.greeted(1024).await;
    });
}

#[test]
fn the_last_words_of_a_peer_are_heard_although_it_takes_nothing_more() {
    simulate(async {
        let world = World::new(Limits::default());
        world.saves();
        let mut holder = world.greeted(4096).await;
        holder.say(&acquire("a", 1, 0)).await;
        assert!(holder.hear().await["granted"].is_object());
        // Answers to it find nobody; its goodbye comes after them.
        let mut last = String::new();
        for id in 0..10 {
            last += &format!("{{\"ping\":{{\"id\":{id}}}}}\n");
        }
        last += "{\"goodbye\":{}}\n";
        holder
            .stream
            .write_all(last.as_bytes())
            .await
            .expect("heard");
        drop(holder.stream);
        let mut next = world.greeted(1024).await;
        let begun = Instant::now();
        next.say(&acquire("a", 2, 60_000)).await;
        assert!(next.hear().await["granted"].is_object());
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    });
}
