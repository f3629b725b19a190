//! A way to a server that can be disturbed.

mod connection;
mod line;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::port::{Port, PortTaken, on_free_ports};
use connection::Connection;
use line::{Fault, Line, Way};

/// A port whose connections go on to a server, undisturbed at first.
///
/// Bytes come out in the order in which they went in. What is set is for the connections there
/// are, from the next byte on, and for new ones. All connections are cut when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    line: Arc<Line>,
    port: Port,
}

/// One direction of all connections of a [`Proxy`].
#[derive(Debug)]
pub struct Direction<'a> {
    line: &'a Line,
    way: Way,
}

impl Proxy {
    /// A way to this port of 127.0.0.1.
    pub fn to(port: u16) -> Self {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        on_free_ports(|| {
            let (line, port) = (Line::to(server), Port::free());
            line.listen(port.number()).map_err(|_| PortTaken)?;
            Ok(Self { line, port })
        })
    }

    /// The port at which it listens.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// A URL of the server, leading through this.
    ///
    /// # Panics
    ///
    /// When the server is not in it.
    pub fn url(&self, url: &str) -> String {
        let server = self.line.server().to_string();
        assert!(url.contains(&server), "{url} does not name {server}");
        url.replace(&server, &format!("127.0.0.1:{}", self.port()))
    }

    /// How many connections were made so far, also those that did not get through to the server.
    pub fn connections(&self) -> usize {
        self.line.accepted()
    }

    /// The way from the clients to the server.
    pub fn to_server(&self) -> Direction<'_> {
        self.direction(Way::ToServer)
    }

    /// The way from the server to the clients.
    pub fn to_client(&self) -> Direction<'_> {
        self.direction(Way::ToClient)
    }

    /// Lets nothing through in either direction, and says nothing. See
    /// [`Direction::black_hole`].
    pub fn black_hole(&self) {
        self.line.set(&Way::BOTH, Fault::BlackHole);
    }

    /// Hangs up on all connections, and refuses new ones, like a server that has ended. What was
    /// on its way is lost.
    pub fn cut(&self) {
        self.line.stop_listening();
        self.line.hang_up(Connection::end);
    }

    /// Resets all connections, like a server that has crashed or a firewall that forgot them. New
    /// ones get through.
    pub fn reset(&self) {
        self.line.hang_up(Connection::reset);
    }

    /// Lets everything through again, and takes new connections.
    ///
    /// Connections that were cut, reset, or half closed stay so. One that was open while its
    /// bytes went into a black hole stays dead in that direction: its bytes are lost, and nobody
    /// sends them again.
    pub fn mend(&self) {
        self.line.set(&Way::BOTH, Fault::None);
        let listening = self.line.listen(self.port());
        listening.expect("the port is claimed");
    }

    fn direction(&self, way: Way) -> Direction<'_> {
        Direction {
            line: &self.line,
            way,
        }
    }
}

impl Direction<'_> {
    /// Lets everything through.
    pub fn pass(&self) {
        self.line.set(&[self.way], Fault::None);
    }

    /// Lets everything through so much later.
    pub fn delay(&self, by: Duration) {
        self.line.set(&[self.way], Fault::Delay(by));
    }

    /// Swallows everything, also that the other end hung up. Both ends believe that they are
    /// connected. New connections are accepted, and get through to the server only if the other
    /// direction is open.
    ///
    /// Connections that are there stay dead in this direction, whatever is set later.
    pub fn black_hole(&self) {
        self.line.set(&[self.way], Fault::BlackHole);
    }

    /// Says to the receiver that nothing comes any more. The other direction goes on.
    pub fn half_close(&self) {
        self.line.set(&[self.way], Fault::HalfClose);
    }

    /// Lets everything through in pieces of a byte.
    pub fn slice(&self) {
        self.line.set(&[self.way], Fault::Slice);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}
