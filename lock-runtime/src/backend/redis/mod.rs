//! Locks in Redis, for many hosts: `redis://host`.

mod answers;
mod asking;
mod batches;
mod check;
mod connection;
mod ears;
mod fault;
mod keys;
mod line;
mod place;
mod releasing;
mod replicas;
mod retrying;
mod scanning;
mod scripts;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::waiting::Failure;
use super::{
    Answer, Backend, Capabilities, Change, ChangeAnswer, Grant, OnWhoseWord, Patience, Release,
    Reply, Request,
};
use crate::clock::Clock;
use crate::error::{BackendError, LockError, Lost};
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::options::Wait;
use crate::owner::Owner;
use crate::sync::atomic::{AtomicU64, Ordering};
use asking::ms;
use batches::{Batches, RENEWALS, Small};
use ears::Ears;
use keys::{Buckets, Keys};
use line::{Line, MAY_ARRIVE_FOR};
use place::Place;
use replicas::Replicas;
use scripts::{Script, Scripts};

/// A backend whose locks live in Redis 7.0 or newer, or in Valkey, for the processes of many hosts.
///
/// | URL | what it names |
/// |---|---|
/// | `redis://user:password@host:6379/0` | one server |
/// | `rediss://…` | the same, encrypted; needs the feature `redis-tls` |
/// | `redis+unix:///run/redis.sock?db=0` | one server, by its socket |
/// | `redis+sentinel://one:26379,two/mymaster/0` | the master that Sentinels know under this name; user and password are those of the master |
/// | `redis+cluster://one:7000,two:7001` | a cluster, by some of its nodes |
///
/// | option | meaning |
/// |---|---|
/// | `wait_replicas=1` | a grant counts only when so many replicas know of it; otherwise it is given back, with an error. Every request of the backend waits meanwhile |
/// | `wait_timeout=100ms` | how long they are waited for, from 1 ms to 1 s |
/// | `allow_eviction=true` | accepts a server that may throw locks away when its memory is full; others are refused |
/// | `tls=true` | encrypts every way, and checks whoever is there; what `rediss:` does by itself. Not for `redis+unix:` |
/// | `ca_file=/path/to.pem` | who may sign the servers' certificates, instead of those whom the system trusts |
/// | `cert_file=/path/to.pem`, `key_file=/path/to.key` | the certificate that this program shows, and its key, where the servers ask for one |
/// | `sentinel_tls=false` | with `tls=true`: the Sentinels themselves are spoken to unencrypted |
/// | `sentinel_user`, `sentinel_password` | the login at the Sentinels, if they want one |
///
/// Every request for a section, and every release, is one script and one round trip. All requests
/// go through one connection, and pushes come over it: a release hands the name to the first of
/// those who wait. It is theirs for 1.5 s then, within which their process renews it, so that one
/// that is dead delays the others for no longer. Who waits also asks by itself, twice a second and
/// when the owner's lease should end, so that a message that is lost costs moments. Leases that are
/// due together are renewed together.
///
/// # What holds
///
/// * **With no fault:** every promise. Only the server's clock decides, and tokens are larger than
///   all before, of every name. In a cluster that is so within one of 256 buckets of names; over
///   all names it is so as far as the clocks of the masters agree. A resource that checks tokens
///   is most often protected by one name, whose tokens always rise.
/// * **An owner that stands still past its lease:** two bodies may run until the first one
///   notices. The token is for that: it is larger for the second.
/// * **The server ends and comes back:** with its data (`appendfsync always`) everything is still
///   held, but for what came out of a queue less than 0.2 s before, if the server is away for
///   longer than 1 s. With `appendfsync everysec` a power cut, and without persistence any end, forgets locks
///   that are held: their owners are told as soon as the connection is back, but others may have
///   entered before. Tokens go on rising, because they are at least the time in microseconds.
/// * **A replica takes over:** replication is asynchronous, so that the last grants may be unknown
///   to it, and two may hold one lock. `wait_replicas`, with `min-replicas-to-write` on the
///   servers, makes that rare and not impossible. Where it must not happen, keep locks in
///   PostgreSQL or etcd.
/// * **The server's clock jumps:** forwards, leases end too early; backwards, a lease lasts for at
///   most its length from then on, and tokens still rise. Clocks of clients decide nothing.
/// * **Memory is full:** with `noeviction` nobody new enters; what is held is renewed, given on and
///   given back as ever. Any other
///   `maxmemory-policy` together with `maxmemory` may throw away locks that are held, and is
///   refused.
///
/// A name on which nothing happens has no key. Besides, there is one counter of tokens for each
/// bucket, and for two minutes and a lease a key for each request that was taken back, or forced
/// out, and might still be on its way. An assignment without an end is the only thing of a name
/// that does not end by itself.
///
/// One name with a thousand shared owners is slow: each of their requests reads all of them.
///
/// # When the connection breaks
///
/// It is made anew for as long as the manager lives, with pauses of at most 300 ms, and so it is
/// when the server has not answered a request for two seconds. Requests wait meanwhile, for as
/// long as their wait lasts and for 4 s at least. What was sent before, and arrives later than
/// what came after, is refused.
///
/// In a cluster, a node that hangs up is left to its successor, and the others go on. While a node
/// is silent, and neither it nor a successor answers, requests to the others may take a second or
/// two longer: leases of less than 12 s may be lost then.
///
/// # Rights
///
/// The [manual](crate::manual::production#redis) lists what a user of Redis needs, as the line that
/// makes one. Whoever has these rights can read the secrets of owners and act for them: one user
/// for all who may lock, and nobody else.
///
/// # Encryption
///
/// Certificates are checked against those that the system trusts, or those of `ca_file`, and have to
/// be for the name or address under which a server is looked for: behind Sentinels and in a cluster
/// that is what they announce, an IP address unless they are told otherwise. Files are PEM, and are
/// read once, when the backend is made; a key is unencrypted. Where the process has chosen no
/// provider of cryptography for `rustls`, `ring` becomes it.
///
/// With `tls=true` the Sentinels and the servers that they name are all encrypted, checked against
/// the same `ca_file`, which may hold several, and shown the same certificate. With
/// `sentinel_tls=false` beside it, whoever can answer for a Sentinel chooses among the servers with
/// a trusted certificate.
///
/// ```no_run
/// use lock_runtime::{Clock, LockManager, RedisBackend};
///
/// # async fn connect() -> Result<(), lock_runtime::LockError> {
/// let backend = RedisBackend::new("redis://127.0.0.1/", Clock::system())?;
/// let manager = LockManager::builder().backend(backend).connect().await?;
/// # Ok(()) }
/// ```
///
/// [`LockManager::connect`](crate::LockManager::connect) does the same with the URL alone.
pub struct RedisBackend(Arc<Shared>);

/// What the requests of a backend have in common.
struct Shared {
    line: Arc<Line>,
    clock: Clock,
    buckets: Buckets,
    scripts: &'static Scripts,
    refreshes: Batches,
    renewals: Batches,
    /// How many renewals there were: a late one is known by its number.
    renewed: AtomicU64,
    replicas: Replicas,
}

impl RedisBackend {
    /// Locks in the Redis that the URL names. Nothing is connected before [`Backend::connect`] is
    /// called, which a manager does.
    ///
    /// The clock is the one of the manager that uses it.
    ///
    /// # Errors
    ///
    /// When a part of the URL is missing, unknown, or cannot be. The error shows no secret of it.
    pub fn new(url: &str, clock: Clock) -> Result<Self, LockError> {
        let place = Place::parse(url)?;
        let is_cluster = place.is_cluster();
        Ok(Self(Arc::new(Shared {
            line: Line::new(place, clock.clone(), Ears::new()),
            clock,
            buckets: Buckets::new(is_cluster),
            scripts: Scripts::of(is_cluster),
            refreshes: Batches::default(),
            renewals: Batches::default(),
            renewed: AtomicU64::new(1),
            replicas: Replicas::default(),
        })))
    }
}

impl Shared {
    fn place(&self) -> &Place {
        &self.line.place
    }

    fn keys(&self, name: &LockName) -> Keys {
        self.buckets.keys(name)
    }

    async fn run(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&str],
    ) -> Result<Value, Failure> {
        self.line.run(script, keys, arguments).await
    }

    /// An answer that cannot be read.
    fn nonsense(&self, what: impl fmt::Display) -> Failure {
        Failure::Lasting(fault::nonsense(self.place(), what).effect_unknown())
    }

    /// Whether the lease was still held, and begins anew; with no time, it only looks.
    fn renew(
        self: Arc<Self>,
        lease: &Lease,
        ttl: Duration,
    ) -> impl Future<Output = Result<bool, Failure>> + Send + use<> {
        let keys = self.keys(lease.name());
        let number = self.renewed.fetch_add(1, Ordering::Relaxed);
        let left = lease.deadline() - self.clock.now();
        let renewal = Small {
            bucket: keys.bucket(),
            keys: vec![keys.lock],
            arguments: vec![lease.owner().spelled(), ms(ttl), number.to_string()],
            within: (ttl / 3).min(left),
        };
        async move {
            let held = self.ask_together(&RENEWALS, renewal).await?;
            Ok(held == 1)
        }
    }

    /// Looks, after every interruption, which sections are still held: a server that has forgotten
    /// them may give them to others, and who was forced out meanwhile was not told.
    async fn look_after_interruptions(self: Arc<Self>) {
        let newest = Arc::new(AtomicU64::new(0));
        while self.line.has_missed_something().await {
            let sections = &self.line.ears().sections;
            let this = newest.fetch_add(1, Ordering::Relaxed) + 1;
            for lease in sections.running() {
                let (shared, newest) = (Arc::clone(&self), Arc::clone(&newest));
                tokio::spawn(async move {
                    // A server that has just been started may have to read its data first.
                    let held = shared.until(None, || async {
                        // After the next interruption somebody else looks.
                        if !lease.is_running() || newest.load(Ordering::Relaxed) != this {
                            return Ok(true);
                        }
                        Arc::clone(&shared).renew(&lease, Duration::ZERO).await
                    });
                    if matches!(held.await, Ok(false)) {
                        let sections = &shared.line.ears().sections;
                        sections.lose(lease.owner().id(), Lost::Expired);
                    }
                });
            }
        }
    }

    async fn look(&self, name: &LockName, queue: usize) -> Result<LockInfo, Failure> {
        let keys = self.keys(name);
        let answer = self
            .run(
                &self.scripts.look,
                &[&keys.lock, &keys.queue, &keys.waiters],
                &[&queue.to_string()],
            )
            .await?;
        answers::lock(name, answer).map_err(|what| self.nonsense(what))
    }

    async fn change(self: Arc<Self>, change: Change) -> Result<ChangeAnswer, BackendError> {
        let (what, to, ttl, giver, within) = match &change {
            Change::Assign {
                to,
                ttl,
                giver,
                within,
                ..
            } => ("assign", to.as_str(), *ttl, giver, within),
            Change::Transfer {
                to, giver, within, ..
            } => ("transfer", to.as_str(), None, giver, within),
            Change::Unassign { giver, within, .. } => ("unassign", "", None, giver, within),
        };
        let (word, giver) = match giver {
            OnWhoseWord::Caller(caller) => ("caller", caller.as_str()),
            OnWhoseWord::Holder(caller) => ("holder", caller.as_str()),
            OnWhoseWord::Operator => ("operator", ""),
        };
        let keys = self.keys(change.name());
        let mark = keys.change(rand::random());
        let ttl = ttl.map_or_else(|| "-1".to_owned(), ms);
        let within = within.map_or_else(String::new, Owner::spelled);
        let mark_stays = ms(MAY_ARRIVE_FOR);
        self.patiently(|| async {
            let answer = self
                .run(
                    &self.scripts.change,
                    &[&keys.lock, &keys.queue, &keys.waiters, &mark],
                    &[what, to, &ttl, word, giver, &within, &mark_stays],
                )
                .await?;
            answers::changed(answer).map_err(|what| self.nonsense(what))
        })
        .await
    }

    /// Every lock whose key is like that, by name.
    async fn list(self: Arc<Self>, pattern: String) -> Result<Vec<LockInfo>, BackendError> {
        let mut locks = Vec::new();
        for keys in self.patiently(|| self.line.scan(&pattern)).await? {
            let name = keys::name_of(&keys);
            let Some(name) = name else { continue };
            let info = self.patiently(|| self.look(&name, 0)).await;
            let info = info.map_err(|error| fault::in_a_list(&name, &error))?;
            if info != LockInfo::free(name) {
                locks.push(info);
            }
        }
        locks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(locks)
    }
}

impl Backend for RedisBackend {
    fn name(&self) -> &str {
        "redis"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        let shared = Arc::clone(&self.0);
        Reply::later(async move {
            shared.line.connect().await?;
            tokio::spawn(shared.look_after_interruptions());
            Ok(())
        })
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let mut request = request.clone();
        request.patience = Patience::Wait(Wait::NONE);
        Reply::later(Arc::clone(&self.0).enter(request))
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        Reply::later(Arc::clone(&self.0).enter(request.clone()))
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let renewed = Arc::clone(&self.0).renew(lease, ttl);
        Reply::later(async move { renewed.await.map_err(fault::of_failure) })
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        Reply::later(Arc::clone(&self.0).release(lease, how))
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let (shared, name) = (Arc::clone(&self.0), name.clone());
        Reply::later(async move {
            let look = || shared.look(&name, LockInfo::MAX_QUEUE);
            shared.patiently(look).await
        })
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        Reply::later(Arc::clone(&self.0).adopt(giver, request.clone()))
    }

    fn detach(&self, lease: &Lease) -> Reply<Result<bool, BackendError>> {
        // Who adopts it does not take it from anybody.
        self.0.line.ears().sections.forget(lease.owner().id());
        Reply::now(Ok(true))
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        Reply::later(Arc::clone(&self.0).force_release(name.clone()))
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        Reply::later(Arc::clone(&self.0).change(change.clone()))
    }

    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        let pattern = keys::pattern(namespace, prefix);
        Reply::later(Arc::clone(&self.0).list(pattern))
    }
}

impl Drop for RedisBackend {
    fn drop(&mut self) {
        self.0.line.close();
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("place", self.0.place())
            .finish_non_exhaustive()
    }
}
