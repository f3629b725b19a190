//! A client's child has its connection open, and outlives it.

use std::time::Duration;

use crate::eye::{Eye, MINUTE, Next, acquire};
use crate::process::{Process, now};
use crate::program::Daemon;
use crate::puppet::{Order, Puppet};
use crate::worker::{Order as ToWorker, Said, Settings, Worker};

/// Far longer than it takes, and far shorter than the lease, and than the child lives.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn a_child_that_keeps_the_connection_does_not_keep_the_lock() {
    let daemon = Daemon::start();
    let mut eye = Eye::on(daemon.socket());
    let puppet = Process::<Puppet>::greeted(daemon.socket(), 1);
    puppet.says(&acquire("a", 1, MINUTE, 0));
    assert!(puppet.hears()["granted"].is_object());
    puppet.does(&Order::Inherit);
    let mut next = Next::waits(daemon.socket(), "a", 2);
    eye.until_waiting("a", 1);
    let killed = now();
    puppet.kill();
    let (_, entered) = next.enters();
    assert!(entered - killed < AT_ONCE, "{:?}", entered - killed);
    next.leaves();
    eye.until_nothing_is_left();
}

#[test]
fn a_child_that_keeps_the_connection_does_not_keep_the_place_in_the_queue() {
    let daemon = Daemon::start();
    let mut eye = Eye::on(daemon.socket());
    let mut holder = Next::waits(daemon.socket(), "a", 2);
    holder.enters();
    let puppet = Process::<Puppet>::greeted(daemon.socket(), 1);
    puppet.says(&acquire("a", 1, MINUTE, MINUTE));
    eye.until_waiting("a", 1);
    puppet.does(&Order::Inherit);
    puppet.kill();
    eye.until_waiting("a", 0);
    holder.leaves();
    eye.until_nothing_is_left();
}

#[test]
fn a_child_of_a_service_does_not_keep_its_locks_either() {
    let daemon = Daemon::start();
    let mut eye = Eye::on(daemon.socket());
    let worker = Process::<Worker>::ready(&Settings::new(daemon.url()));
    worker.calls(1, "a");
    worker.holds(1);
    worker.order(&ToWorker::Inherit);
    worker.hear(|said| matches!(said, Said::Inherited).then_some(()));
    let mut next = Next::waits(daemon.socket(), "task:a", 1);
    eye.until_waiting("task:a", 1);
    let killed = now();
    worker.kill();
    let (_, entered) = next.enters();
    assert!(entered - killed < AT_ONCE, "{:?}", entered - killed);
    next.leaves();
    eye.until_nothing_is_left();
}
