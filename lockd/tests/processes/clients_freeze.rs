//! A client stands still for longer than its lease, and goes on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::eye::then;
use crate::phases::{Phase, Scene, in_every_phase};
use crate::process::Process;
use crate::program::Daemon;
use crate::puppet::{Order, Puppet};

const TTL: Duration = Duration::from_secs(1);

#[test]
fn a_client_that_stands_still_is_followed_after_its_lease_and_learns_of_it() {
    let daemon = Daemon::start();
    in_every_phase(daemon.socket(), TTL.as_millis() as u64, |mut scene| {
        scene.puppet.freeze(true);
        scene.first_leaves();
        let (token, entered) = scene.next.enters();
        let followed_after = entered - scene.before;
        if scene.phase.has_lock() {
            assert!(
                followed_after >= TTL,
                "{:?} {followed_after:?}",
                scene.phase
            );
        }
        scene.puppet.freeze(false);
        learns(&scene, token);
        scene.next.leaves();
    });
}

/// What a puppet finds out when it goes on.
fn learns(scene: &Scene, successor: u64) {
    let Scene {
        phase,
        puppet,
        name,
        number,
        ..
    } = scene;
    if !scene.rest.is_empty() {
        puppet.does(&Order::Write(scene.rest.clone()));
    }
    match phase {
        Phase::Asking => {
            let busy = puppet.hears();
            assert_eq!(
                busy["busy"]["in_the_way"]["section"]["token"],
                json!(successor)
            );
        }
        Phase::Answered => {
            let granted = puppet.hears();
            let token = granted["granted"]["token"].as_u64().expect("a grant");
            assert!(token < successor, "{token} {successor}");
            assert_lost(&puppet.hears());
        }
        Phase::Holding => assert_lost(&puppet.hears()),
        Phase::Releasing => {
            assert_lost(&puppet.hears());
            assert_eq!(puppet.hears()["held"]["held"], json!(false));
        }
        Phase::Waiting | Phase::Called => {
            puppet.says(&then("claim", name, *number));
            assert_not_held(puppet);
        }
        // Its release was for the grant that it has not taken up.
        Phase::Leaving => assert_not_held(puppet),
    }
}

fn assert_lost(said: &Value) {
    assert_eq!(said["lost"]["cause"], json!("expired"), "{said}");
}

/// Waits for the answer to what was said last.
fn assert_not_held(puppet: &Process<Puppet>) {
    loop {
        // It may hear first that it was called.
        let said = puppet.hears();
        if said["held"].is_object() {
            assert_eq!(said["held"]["held"], json!(false), "{said}");
            return;
        }
    }
}
