//! The connections of a proxy, and what is set for them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};

use super::connection::Connection;
use crate::wait::{LONG, eventually};

/// All connections of a proxy.
#[derive(Debug)]
pub(super) struct Line {
    server: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Not there while it is cut.
    listener: Option<Arc<TcpListener>>,
    accepted: usize,
    faults: [Fault; 2],
    connections: Vec<Weak<Connection>>,
    /// How often all connections were hung up on. One that was being made at that time is too.
    hung_up: u64,
}

/// The two directions of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    ToServer = 0,
    ToClient = 1,
}

/// What happens to the bytes of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Fault {
    #[default]
    None,
    BlackHole,
    Delay(Duration),
    HalfClose,
    Slice,
}

impl Way {
    pub(super) const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    pub(super) fn back(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

impl Line {
    pub(super) fn to(server: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            server,
            state: Mutex::default(),
        })
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Takes connections at this port, unless it does.
    pub(super) fn listen(self: &Arc<Self>, port: u16) -> io::Result<()> {
        let mut state = self.state();
        if state.listener.is_none() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            let (line, listener) = (Arc::clone(self), Arc::new(listener));
            state.listener = Some(Arc::clone(&listener));
            thread::spawn(move || line.accept(&listener));
        }
        Ok(())
    }

    /// Takes no connections any more, also none that wait for being accepted.
    pub(super) fn stop_listening(&self) {
        if let Some(listener) = self.state().listener.take() {
            // Closing it would be too little: a process that is being started has it too.
            shutdown(&listener, Shutdown::Both).expect("it listens");
        }
    }

    pub(super) fn fault(&self, way: Way) -> Fault {
        self.state().faults[way as usize]
    }

    pub(super) fn set(&self, ways: &[Way], fault: Fault) {
        let mut state = self.state();
        for &way in ways {
            state.faults[way as usize] = fault;
            for connection in state.connections.iter().filter_map(Weak::upgrade) {
                connection.suffer(way, fault);
            }
        }
    }

    pub(super) fn accepted(&self) -> usize {
        self.state().accepted
    }

    /// Does something to all connections that ends them. Comes back when they are closed.
    pub(super) fn hang_up(&self, how: impl Fn(&Connection)) {
        let mut state = self.state();
        state.hung_up += 1;
        let connections = std::mem::take(&mut state.connections);
        drop(state);
        for connection in connections.iter().filter_map(Weak::upgrade) {
            how(&connection);
        }
        eventually("all connections are closed", || {
            let mut left = connections.iter().map(Weak::strong_count);
            left.all(|count| count == 0)
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes connections until it is cut.
    fn accept(self: &Arc<Self>, listener: &Arc<TcpListener>) {
        for client in listener.incoming() {
            let mut state = self.state();
            let current = state.listener.as_ref();
            if !current.is_some_and(|current| Arc::ptr_eq(current, listener)) {
                return;
            }
            let Ok(client) = client else {
                continue;
            };
            state.accepted += 1;
            let (line, hung_up) = (Arc::clone(self), state.hung_up);
            thread::spawn(move || line.connect(client, hung_up));
        }
    }

    /// Connects a client to the server. Without a server it is hung up on.
    fn connect(self: &Arc<Self>, client: TcpStream, hung_up: u64) {
        let is_hole = |way| self.fault(way) == Fault::BlackHole;
        let server = if Way::BOTH.into_iter().all(is_hole) {
            None
        } else {
            match TcpStream::connect_timeout(&self.server, LONG) {
                Ok(server) => Some(server),
                // What the server says is swallowed too.
                Err(_) if is_hole(Way::ToClient) => None,
                Err(_) => return,
            }
        };
        let connection = Arc::new(Connection::between(client, server));
        let mut state = self.state();
        if state.hung_up != hung_up {
            return;
        }
        for way in Way::BOTH {
            connection.suffer(way, state.faults[way as usize]);
            let (line, connection) = (Arc::clone(self), Arc::clone(&connection));
            thread::spawn(move || connection.carry(way, &line));
        }
        state.connections.retain(|old| old.strong_count() > 0);
        state.connections.push(Arc::downgrade(&connection));
    }
}
