//! One connection of a proxy, and how its bytes are carried.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::line::{Fault, Line, Way};

/// How long is written, or waited, before somebody looks whether that is still wanted.
const TICK: Duration = Duration::from_millis(20);

/// Between two pieces of a byte: so long that a receiver that waits gets them one by one.
const BETWEEN_SLICES: Duration = Duration::from_micros(30);

/// A connection, with both ends. They are closed when nobody carries its bytes any more.
#[derive(Debug)]
pub(super) struct Connection {
    client: TcpStream,
    /// Not there for one that began in a black hole.
    server: Option<TcpStream>,
    is_over: AtomicBool,
    /// The directions in which nothing gets through for ever.
    is_dead: [AtomicBool; 2],
}

/// Bytes, or their end without any, and when they are due.
type Piece = (Instant, Vec<u8>);

impl Connection {
    pub(super) fn between(client: TcpStream, server: Option<TcpStream>) -> Self {
        for stream in [Some(&client), server.as_ref()].into_iter().flatten() {
            // One that is closed already is noticed when it is read.
            drop(stream.set_nodelay(true));
            drop(stream.set_write_timeout(Some(TICK)));
        }
        let is_dead = [AtomicBool::new(false), AtomicBool::new(false)];
        Self {
            client,
            server,
            is_over: AtomicBool::new(false),
            is_dead,
        }
    }

    /// What is done at once when a fault is set.
    pub(super) fn suffer(&self, way: Way, fault: Fault) {
        match fault {
            Fault::BlackHole => self.dies(way),
            Fault::HalfClose => {
                self.ends_here(way);
                self.dies(way);
            }
            Fault::None | Fault::Delay(_) | Fault::Slice => {}
        }
    }

    /// Hangs up at both ends.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        for stream in self.streams() {
            // It may have ended by itself.
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }

    /// Resets both ends: closing them does that, as soon as nobody reads them any more.
    pub(super) fn reset(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        for stream in self.streams() {
            let _ended = set_socket_linger(stream, Some(Duration::ZERO));
            // This wakes whoever reads, and says nothing to the other side.
            let _ended = stream.shutdown(Shutdown::Read);
        }
    }

    /// Carries the bytes of a direction until they end.
    pub(super) fn carry(&self, way: Way, line: &Line) {
        let Some(mut from) = self.stream(way.back()) else {
            return;
        };
        let mut waiting: VecDeque<Piece> = VecDeque::new();
        let mut buffer = vec![0; 16 * 1024];
        let mut has_ended = false;
        while !self.is_over() {
            let now = Instant::now();
            if let Some((_, piece)) = waiting.pop_front_if(|(due, _)| *due <= now) {
                if piece.is_empty() {
                    return self.ends_here(way);
                }
                self.deliver(way, line, &piece);
                continue;
            }
            let left = waiting.front().map(|(due, _)| *due - now);
            if has_ended {
                thread::sleep(left.unwrap_or_default().min(TICK));
                continue;
            }
            let _ended = from.set_read_timeout(left);
            match from.read(&mut buffer) {
                Ok(length) => {
                    let delay = match line.fault(way) {
                        Fault::Delay(delay) => delay,
                        _ => Duration::ZERO,
                    };
                    waiting.push_back((Instant::now() + delay, buffer[..length].to_vec()));
                    has_ended = length == 0;
                }
                Err(error) if is_for_now(&error) => {}
                // It was reset.
                Err(_) if self.is_dead(way) => return,
                Err(_) => self.end(),
            }
        }
    }

    /// Hands bytes to the receiver. Those of a dead direction are swallowed.
    fn deliver(&self, way: Way, line: &Line, mut left: &[u8]) {
        let Some(mut to) = self.stream(way) else {
            return;
        };
        while !left.is_empty() && !self.is_dead(way) && !self.is_over() {
            let is_sliced = line.fault(way) == Fault::Slice;
            let now = if is_sliced { &left[..1] } else { left };
            match to.write(now) {
                Ok(written) => left = &left[written..],
                Err(error) if is_for_now(&error) => {}
                // The receiver is gone, and its last word does not get through.
                Err(_) if self.is_dead(way.back()) => self.dies(way),
                Err(_) => self.end(),
            }
            if is_sliced {
                thread::sleep(BETWEEN_SLICES);
            }
        }
    }

    /// Says to the receiver that nothing comes any more, unless that is swallowed too.
    fn ends_here(&self, way: Way) {
        if !self.is_dead(way)
            && let Some(to) = self.stream(way)
        {
            let _ended = to.shutdown(Shutdown::Write);
        }
    }

    fn dies(&self, way: Way) {
        self.is_dead[way as usize].store(true, Ordering::SeqCst);
    }

    fn is_dead(&self, way: Way) -> bool {
        self.is_dead[way as usize].load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// The end to which a direction leads.
    fn stream(&self, way: Way) -> Option<&TcpStream> {
        match way {
            Way::ToServer => self.server.as_ref(),
            Way::ToClient => Some(&self.client),
        }
    }

    fn streams(&self) -> impl Iterator<Item = &TcpStream> {
        [Some(&self.client), self.server.as_ref()]
            .into_iter()
            .flatten()
    }
}

fn is_for_now(error: &std::io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
