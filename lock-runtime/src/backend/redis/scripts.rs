//! The scripts that run in Redis: each is one request, and one step for everybody else.

use std::sync::LazyLock;

use redis::Script as Hashed;

use crate::backend::waiting::{HANDED_FOR, MOST_HANDED, SILENT_AFTER};

/// A script, and the digest that Redis knows it by.
pub(super) struct Script {
    text: String,
    hashed: Hashed,
}

/// All scripts, for one server or for a cluster.
pub(super) struct Scripts {
    pub(super) adopt: Script,
    pub(super) change: Script,
    pub(super) enter: Script,
    pub(super) force_release: Script,
    pub(super) look: Script,
    pub(super) refresh: Script,
    pub(super) release: Script,
    pub(super) renew: Script,
}

const RECORD: &str = include_str!("scripts/record.lua");
const QUEUE: &str = include_str!("scripts/queue.lua");

impl Script {
    fn new(parts: &[&str]) -> Self {
        let text = parts.join("\n");
        Self {
            hashed: Hashed::new(&text),
            text,
        }
    }

    pub(super) fn digest(&self) -> &str {
        self.hashed.get_hash()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Scripts {
    pub(super) fn of(is_cluster: bool) -> &'static Self {
        static SERVER: LazyLock<Scripts> = LazyLock::new(|| Scripts::new(false));
        static CLUSTER: LazyLock<Scripts> = LazyLock::new(|| Scripts::new(true));
        if is_cluster { &CLUSTER } else { &SERVER }
    }

    fn new(is_cluster: bool) -> Self {
        let place = format!(
            "local IN_CLUSTER = {is_cluster}\n\
             -- A waiter that has been silent for so long is passed over, and keeps its place.\n\
             local SILENT_AFTER = {}\n\
             -- A name that was handed to a waiter stays handed for so long.\n\
             local HANDED_FOR = {}\n\
             -- So many are handed the name at once.\n\
             local MOST_HANDED = {MOST_HANDED}\n",
            SILENT_AFTER.as_micros(),
            HANDED_FOR.as_micros(),
        );
        let with_queue = |head: &str, body: &str| Script::new(&[head, &place, RECORD, QUEUE, body]);
        let with_record = |body: &str| Script::new(&[&place, RECORD, body]);
        Self {
            adopt: with_record(include_str!("scripts/adopt.lua")),
            change: with_queue("", include_str!("scripts/change.lua")),
            enter: with_queue(
                include_str!("scripts/take.lua"),
                include_str!("scripts/enter.lua"),
            ),
            force_release: with_queue("", include_str!("scripts/force_release.lua")),
            look: with_queue("", include_str!("scripts/look.lua")),
            refresh: with_queue("", include_str!("scripts/refresh.lua")),
            release: with_queue(
                include_str!("scripts/give_back.lua"),
                include_str!("scripts/release.lua"),
            ),
            renew: with_record(include_str!("scripts/renew.lua")),
        }
    }
}
