//! A child that has a plain connection, and sends on it exactly what it is told.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{Process, Role, orders, say, settings};

pub(crate) struct Puppet;

impl Role for Puppet {
    const TEST: &'static str = "puppet::puppet";
    type Settings = PathBuf;
    type Order = Order;
    type Said = Said;
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    /// Closes the connection, and says nothing before.
    Close,
    Connect,
    /// Reads what has come.
    Hear,
    /// Gives the connection to a child of its own as well, which does nothing for a long time.
    Inherit,
    /// Writes this, and nothing else.
    Write(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Done,
    Heard(Value),
}

/// What a puppet does, when this process is one. In an ordinary run this does nothing.
#[test]
fn puppet() {
    let Some(socket) = settings::<PathBuf>() else {
        return;
    };
    let mut client = None;
    for order in orders() {
        match order {
            Order::Close => drop(client.take()),
            Order::Connect => client = Some(Client::connect(&socket)),
            Order::Hear => {
                say(&Said::Heard(connection(&mut client).hear()));
                continue;
            }
            Order::Inherit => {
                let stream = connection(&mut client).stream().try_clone();
                inherit(OwnedFd::from(stream.expect("a duplicate")));
            }
            Order::Write(text) => {
                let stream = connection(&mut client).stream();
                stream.write_all(text.as_bytes()).expect("written");
            }
        }
        say(&Said::Done);
    }
}

/// Starts a child that keeps a descriptor open, and is killed with its parent's process group.
pub(crate) fn inherit(descriptor: OwnedFd) {
    let mut child = Command::new("sleep")
        .arg("300")
        .stdin(Stdio::from(descriptor))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    std::thread::spawn(move || child.wait());
}

fn connection(client: &mut Option<Client>) -> &mut Client {
    client.as_mut().expect("it is connected")
}

impl Process<Puppet> {
    /// A child with a connection that has said who it is.
    pub(crate) fn greeted(socket: &Path, session: u64) -> Self {
        let puppet = Self::start(&socket.to_path_buf());
        puppet.connects(session, 1);
        puppet
    }

    /// Connects, for the so-manyth time in this session.
    #[track_caller]
    pub(crate) fn connects(&self, session: u64, number: u64) {
        self.does(&Order::Connect);
        self.says(&json!({"hello": {
            "version": 1,
            "application": "puppet",
            "session": format!("{session:032x}"),
            "connection": number,
        }}));
        let welcome = self.hears();
        assert!(welcome["hello"].is_object(), "{welcome}");
    }

    #[track_caller]
    pub(crate) fn does(&self, order: &Order) {
        self.order(order);
        self.hear(|said| matches!(said, Said::Done).then_some(()));
    }

    #[track_caller]
    pub(crate) fn says(&self, message: &Value) {
        self.does(&Order::Write(format!("{message}\n")));
    }

    #[track_caller]
    pub(crate) fn hears(&self) -> Value {
        self.order(&Order::Hear);
        self.hear(|said| match said {
            Said::Heard(message) => Some(message.clone()),
            Said::Done => None,
        })
    }
}
