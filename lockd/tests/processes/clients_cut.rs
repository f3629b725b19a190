//! A client loses its connection, and lives.

use std::time::Duration;

use lock_runtime::CLAIM_WINDOW;
use serde_json::{Value, json};

use crate::eye::{Eye, MINUTE, acquire, owner, then};
use crate::phases::{Phase, Scene, in_every_phase};
use crate::process::{Process, now};
use crate::program::Daemon;
use crate::puppet::{Order, Puppet};

const TTL: Duration = Duration::from_secs(1);

fn reclaim(scene: &Scene, token: u64) -> Value {
    json!({"reclaim": {
        "id": 1,
        "name": scene.name,
        "owner": owner(scene.number),
        "token": token,
        "ttl_ms": MINUTE,
        "held_ms": 1,
    }})
}

/// Says that this is all that it has. Returns what it has heard before the answer.
fn settles(puppet: &Process<Puppet>) -> Vec<Value> {
    puppet.says(&json!({"settled": {"id": 2}}));
    let mut before = Vec::new();
    loop {
        let said = puppet.hears();
        if said["done"].is_object() {
            return before;
        }
        before.push(said);
    }
}

#[test]
fn a_client_that_stays_away_is_followed_after_its_lease_and_learns_of_it() {
    let daemon = Daemon::start();
    in_every_phase(daemon.socket(), TTL.as_millis() as u64, |mut scene| {
        let held = Eye::on(daemon.socket()).lock(&scene.name);
        scene.puppet.does(&Order::Close);
        scene.first_leaves();
        let (token, entered) = scene.next.enters();
        let followed_after = entered - scene.before;
        scene.puppet.connects(scene.number, 2);
        if scene.phase.has_lock() {
            assert!(
                followed_after >= TTL,
                "{:?} {followed_after:?}",
                scene.phase
            );
            let before = held["sections"][0]["token"].as_u64().expect("a token");
            assert!(before < token, "{before} {token}");
            scene.puppet.says(&reclaim(&scene, before));
            assert_eq!(scene.puppet.hears()["held"]["held"], json!(false));
        }
        settles(&scene.puppet);
        scene.next.leaves();
    });
}

#[test]
fn a_client_that_comes_back_has_what_it_had() {
    let daemon = Daemon::start();
    in_every_phase(daemon.socket(), MINUTE, |mut scene| {
        let mut eye = Eye::on(daemon.socket());
        let held = eye.lock(&scene.name);
        let (puppet, name, number) = (&scene.puppet, &scene.name, scene.number);
        puppet.does(&Order::Close);
        puppet.connects(number, 2);
        match scene.phase {
            // Half a request is none.
            Phase::Asking => {}
            Phase::Answered | Phase::Holding | Phase::Releasing => {
                let token = held["sections"][0]["token"].as_u64().expect("a token");
                puppet.says(&reclaim(&scene, token));
                assert_eq!(puppet.hears()["held"]["held"], json!(true));
            }
            Phase::Waiting | Phase::Leaving | Phase::Called => {
                puppet.says(&acquire(name, number, MINUTE, MINUTE));
            }
        }
        let heard = settles(puppet);
        // A machine that is busy with other things may have let the window pass in which a grant
        // has to be taken up.
        let is_too_late = scene.phase == Phase::Called && now() - scene.before >= CLAIM_WINDOW;
        if scene.phase == Phase::Asking || is_too_late {
            drop(scene.puppet);
            scene.next.enters();
            return scene.next.leaves();
        }
        // Its place is before the next one's.
        scene.first_leaves();
        if !scene.phase.has_lock() {
            let granted = heard.first().cloned();
            let granted = granted.unwrap_or_else(|| scene.puppet.hears());
            assert!(granted["granted"].is_object(), "{granted}");
            scene.puppet.says(&then("claim", &scene.name, scene.number));
            assert_eq!(scene.puppet.hears()["held"]["held"], json!(true));
        }
        scene.next.is_kept_out();
        scene
            .puppet
            .says(&then("release", &scene.name, scene.number));
        assert_eq!(scene.puppet.hears()["held"]["held"], json!(true));
        scene.next.enters();
        scene.next.leaves();
    });
}
