//! What the keys of a lock are called.
//!
//! All keys of a lock have one hash tag, the number of its bucket, so that every script is legal
//! in a cluster, and a counter of tokens costs a key per bucket and not one per name.

use crate::name::LockName;

/// How many buckets the names of a cluster are spread over. All programs that share a store have
/// to agree on it, so it never changes.
const BUCKETS: u64 = 256;

/// Which names share a hash tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Buckets(u64);

/// The keys of one lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Keys {
    pub(super) lock: String,
    pub(super) queue: String,
    pub(super) waiters: String,
    pub(super) token: String,
    /// What they all begin with.
    tag: String,
    bucket: u64,
}

impl Buckets {
    /// One bucket for a server that has all names, so that tokens rise over all of them.
    pub(super) fn new(is_cluster: bool) -> Self {
        Self(if is_cluster { BUCKETS } else { 1 })
    }

    pub(super) fn keys(self, name: &LockName) -> Keys {
        let key = name.key();
        let bucket = self.of(key);
        let tag = format!("lock:{{{bucket}}}:");
        Keys {
            lock: [&tag, "name:", key].concat(),
            queue: [&tag, "queue:", key].concat(),
            waiters: [&tag, "waiters:", key].concat(),
            token: [&tag, "token"].concat(),
            tag,
            bucket,
        }
    }

    /// FNV-1a (Fowler, Noll, Vo): short, and the same in every program and version.
    fn of(self, key: &str) -> u64 {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let hash = key.bytes().fold(OFFSET, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(PRIME)
        });
        // The low bits are mixed worst.
        (hash ^ (hash >> 32)) % self.0
    }
}

impl Keys {
    /// The mark of a change that was made.
    pub(super) fn change(&self, attempt: u128) -> String {
        format!("{}change:{attempt:032x}", self.tag)
    }

    /// What says that an owner is refused from now on.
    pub(super) fn refusal(&self, owner: &str) -> String {
        [&self.tag, "refused:", owner].concat()
    }

    pub(super) fn bucket(&self) -> u64 {
        self.bucket
    }
}

/// Every lock of a namespace whose name begins with a prefix, as `SCAN` is asked for it.
pub(super) fn pattern(namespace: &str, prefix: &str) -> String {
    let mut pattern = String::from("lock:{*}:name:");
    for character in namespace.chars().chain(['/']).chain(prefix.chars()) {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

/// The lock that a key belongs to; `None` when the key is not one of ours.
pub(super) fn name_of(key: &str) -> Option<LockName> {
    let (_bucket, name) = key.strip_prefix("lock:{")?.split_once("}:name:")?;
    LockName::from_key(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_lock_share_a_hash_tag() {
        let name = LockName::new("task:{42}").unwrap();
        let keys = Buckets::new(false).keys(&name);
        assert_eq!(keys.lock, "lock:{0}:name:/task:{42}");
        assert_eq!(keys.queue, "lock:{0}:queue:/task:{42}");
        assert_eq!(keys.waiters, "lock:{0}:waiters:/task:{42}");
        assert_eq!(keys.token, "lock:{0}:token");
        assert_eq!(keys.change(7), format!("lock:{{0}}:change:{:032x}", 7));
        assert_eq!(keys.refusal("7f"), "lock:{0}:refused:7f");
        assert_eq!(name_of(&keys.lock), Some(name));
        assert_eq!(name_of(&keys.queue), None);
    }

    /// Programs of different versions have to find the same keys.
    #[test]
    fn a_name_stays_in_its_bucket() {
        let buckets = Buckets::new(true);
        let of = |name: &str| buckets.keys(&LockName::new(name).unwrap()).bucket();
        assert_eq!([of("task:1"), of("task:2"), of("ü")], [0, 181, 246]);
        let used: std::collections::HashSet<_> = (0..10_000).map(|n| of(&n.to_string())).collect();
        assert_eq!(used.len(), 256);
    }

    #[test]
    fn nothing_in_a_prefix_is_a_wildcard() {
        assert_eq!(
            pattern("kanban", "a*[?"),
            "lock:{*}:name:kanban/a\\*\\[\\?*"
        );
    }
}
