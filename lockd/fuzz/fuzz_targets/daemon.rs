//! A daemon without I/O and hostile peers: what they send, when they go, when it restarts.
#![no_main]

use std::time::{Duration, SystemTime};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use lock_runtime::__daemon::moment;
use lockd::engine::{ConnectionId, Engine, Limits, Peer, Process, Saved};

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Connect {
        pid: u8,
    },
    Greet {
        connection: u8,
        session: u8,
        generation: u8,
    },
    Say {
        connection: u8,
        message: Message,
    },
    Bytes {
        connection: u8,
        bytes: &'a [u8],
    },
    Cut {
        connection: u8,
    },
    Die {
        pid: u8,
    },
    Pass {
        milliseconds: u16,
    },
    Save,
    Restart,
}

#[derive(Arbitrary, Debug)]
enum Message {
    Acquire {
        name: u8,
        owner: u8,
        wait: u16,
        ttl: u16,
        mode: u8,
        at_least: u8,
        linger: bool,
        caller: Option<u8>,
    },
    Claim {
        name: u8,
        owner: u8,
    },
    Release {
        name: u8,
        owner: u8,
        body_ran: bool,
    },
    Renew {
        name: u8,
        owner: u8,
    },
    Reclaim {
        name: u8,
        owner: u8,
        token: u8,
    },
    Detach {
        name: u8,
        owner: u8,
    },
    Adopt {
        name: u8,
        giver: u8,
        owner: u8,
    },
    ForceRelease {
        name: u8,
    },
    Assign {
        name: u8,
        to: u8,
        attempt: u8,
        ttl: Option<u16>,
    },
    Transfer {
        name: u8,
        to: u8,
        from: u8,
        attempt: u8,
        within: Option<u8>,
    },
    Unassign {
        name: u8,
        attempt: u8,
    },
    Settled,
    List,
    Goodbye,
}

fn owner(number: u8) -> String {
    format!("{:048x}", u32::from(number % 8) + 1)
}

fn name(number: u8) -> String {
    format!("n:{}", number % 3)
}

impl Message {
    fn json(&self) -> String {
        match self {
            Self::Acquire {
                name: n,
                owner: o,
                wait,
                ttl,
                mode,
                at_least,
                linger,
                caller,
            } => {
                let mode = match mode % 3 {
                    0 => "\"exclusive\"",
                    1 => "\"shared\"",
                    _ => "{\"permits\":2}",
                };
                let auth = caller.map_or("null".to_owned(), |c| {
                    format!("{{\"caller\":\"c{}\"}}", c % 3)
                });
                format!(
                    "{{\"acquire\":{{\"id\":1,\"name\":\"{}\",\"owner\":\"{}\",\"wait_ms\":{wait},\"ttl_ms\":{ttl},\"mode\":{mode},\"at_least_ms\":{at_least},\"linger\":{linger},\"auth\":{auth}}}}}",
                    name(*n),
                    owner(*o)
                )
            }
            Self::Claim { name: n, owner: o } => format!(
                "{{\"claim\":{{\"id\":2,\"name\":\"{}\",\"owner\":\"{}\"}}}}",
                name(*n),
                owner(*o)
            ),
            Self::Release {
                name: n,
                owner: o,
                body_ran,
            } => format!(
                "{{\"release\":{{\"id\":3,\"name\":\"{}\",\"owner\":\"{}\",\"body_ran\":{body_ran}}}}}",
                name(*n),
                owner(*o)
            ),
            Self::Renew { name: n, owner: o } => format!(
                "{{\"renew\":{{\"id\":4,\"leases\":[{{\"name\":\"{}\",\"owner\":\"{}\",\"ttl_ms\":500}}]}}}}",
                name(*n),
                owner(*o)
            ),
            Self::Reclaim {
                name: n,
                owner: o,
                token,
            } => format!(
                "{{\"reclaim\":{{\"id\":5,\"name\":\"{}\",\"owner\":\"{}\",\"token\":{},\"ttl_ms\":500}}}}",
                name(*n),
                owner(*o),
                u32::from(*token) + 1
            ),
            Self::Detach { name: n, owner: o } => format!(
                "{{\"detach\":{{\"id\":6,\"name\":\"{}\",\"owner\":\"{}\"}}}}",
                name(*n),
                owner(*o)
            ),
            Self::Adopt {
                name: n,
                giver,
                owner: o,
            } => format!(
                "{{\"adopt\":{{\"id\":7,\"name\":\"{}\",\"giver\":\"{}\",\"owner\":\"{}\",\"ttl_ms\":500}}}}",
                name(*n),
                owner(*giver),
                owner(*o)
            ),
            Self::ForceRelease { name: n } => {
                format!(
                    "{{\"force_release\":{{\"id\":8,\"name\":\"{}\"}}}}",
                    name(*n)
                )
            }
            Self::Assign {
                name: n,
                to,
                attempt,
                ttl,
            } => format!(
                "{{\"assign\":{{\"id\":9,\"attempt\":\"{attempt:032x}\",\"name\":\"{}\",\"to\":\"c{}\",\"by\":\"operator\",\"ttl_ms\":{}}}}}",
                name(*n),
                to % 3,
                ttl.map_or("null".to_owned(), |ttl| ttl.to_string())
            ),
            Self::Transfer {
                name: n,
                to,
                from,
                attempt,
                within,
            } => format!(
                "{{\"transfer\":{{\"id\":10,\"attempt\":\"{attempt:032x}\",\"name\":\"{}\",\"to\":\"c{}\",\"by\":{{\"caller\":\"c{}\"}},\"within\":{}}}}}",
                name(*n),
                to % 3,
                from % 3,
                within.map_or("null".to_owned(), |o| format!("\"{}\"", owner(o)))
            ),
            Self::Unassign { name: n, attempt } => format!(
                "{{\"unassign\":{{\"id\":11,\"attempt\":\"{attempt:032x}\",\"name\":\"{}\",\"by\":\"operator\"}}}}",
                name(*n)
            ),
            Self::Settled => "{\"settled\":{\"id\":12}}".to_owned(),
            Self::List => "{\"list\":{\"id\":13}}".to_owned(),
            Self::Goodbye => "{\"goodbye\":{}}".to_owned(),
        }
    }
}

fn start(saved: &Saved, now: lock_runtime::Moment) -> Engine {
    let limits = Limits {
        connections: 6,
        connections_per_process: 3,
        locks_per_session: 4,
        waiting_per_session: 4,
        output: 64 * 1024,
        ..Limits::default()
    };
    let wall = SystemTime::UNIX_EPOCH + now.since_start();
    Engine::new(limits, saved, "boot", now, wall).expect("it reads what it wrote")
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut now = moment(0) + Duration::from_secs(100);
    let mut disk = Saved::Nothing;
    let mut engine = start(&disk, now);
    let mut connections: Vec<ConnectionId> = Vec::new();
    for step in &steps {
        let at = |number: &u8| {
            let index = usize::from(*number).checked_rem(connections.len())?;
            Some(connections[index])
        };
        let process = |pid: u8| Process {
            pid: u32::from(pid % 3) + 1,
            started: 1,
        };
        match step {
            Step::Connect { pid } => {
                let process = process(*pid);
                let peer = Peer {
                    uid: 1,
                    pid: process.pid,
                    process: Some(process),
                };
                connections.push(engine.connect(now, peer));
            }
            Step::Greet {
                connection,
                session,
                generation,
            } => {
                if let Some(id) = at(connection) {
                    let hello = format!(
                        "{{\"hello\":{{\"version\":1,\"session\":\"{:032x}\",\"connection\":{}}}}}\n",
                        session % 4,
                        generation
                    );
                    engine.received(now, id, hello.as_bytes());
                }
            }
            Step::Say {
                connection,
                message,
            } => {
                if let Some(id) = at(connection) {
                    engine.received(now, id, format!("{}\n", message.json()).as_bytes());
                }
            }
            Step::Bytes { connection, bytes } => {
                if let Some(id) = at(connection) {
                    engine.received(now, id, bytes);
                }
            }
            Step::Cut { connection } => {
                if let Some(id) = at(connection) {
                    engine.disconnected(now, id);
                    connections.retain(|other| *other != id);
                }
            }
            Step::Die { pid } => engine.process_died(now, process(*pid)),
            Step::Pass { milliseconds } => {
                now = now + Duration::from_millis(u64::from(*milliseconds));
                engine.advance(now);
                assert!(
                    engine.next_look().is_none_or(|look| look > now),
                    "it would be looked at for ever"
                );
            }
            Step::Save => {
                while let Some(snapshot) = engine.snapshot(now) {
                    engine.saved(now, snapshot.number);
                    disk = Saved::Text(snapshot.text);
                }
            }
            Step::Restart => {
                connections.clear();
                engine = start(&disk, now);
            }
        }
        while let Some(id) = engine.woken() {
            let length = engine.output(id).len();
            engine.written(id, length);
        }
    }
    // When everybody is gone and every lease is over, only assignments are left.
    for pid in 0..3 {
        engine.process_died(
            now,
            Process {
                pid: pid + 1,
                started: 1,
            },
        );
    }
    for id in connections {
        engine.disconnected(now, id);
    }
    now = now + Duration::from_secs(366 * 24 * 3600);
    engine.advance(now);
    assert!(engine.is_at_rest(), "{engine:?}");
});
