//! The connection: to one server of the cluster at a time, and to the next when it fails.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use etcd_client::{
    Client, Error, GetOptions, KvClient, LeaseClient, Txn, TxnResponse, WatchClient,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::fault::{self, Place, Trouble};
use super::keys::{Keys, end_of};
use super::record::{Record, Stored};
use super::settings::Settings;
use crate::observe;

/// A server that has not answered within this time is given up, and the next one is asked. A
/// cluster that elects a leader is silent for one or two of its election timeouts.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// A server has at least so long, however short the lease is that is to be renewed: everything else
/// goes over the same connection, and a slow disk is no reason to leave it.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// How long a server may take to renew a lease of this length: what it leaves of the time is for
/// another one.
pub(super) fn renewed_within(ttl: Duration) -> Duration {
    (ttl / 4).clamp(LEAST_TIME, ANSWERED_WITHIN)
}

/// How long a connection may take to be made.
pub(super) const CONNECTED_WITHIN: Duration = Duration::from_millis(1_500);

/// The pauses after none of the servers could be reached.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A name with as many waiters as there may be is read in one answer.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// The way to the cluster.
pub(super) struct Link {
    pub(super) settings: Settings,
    current: RwLock<Option<Arc<Connected>>>,
    making: tokio::sync::Mutex<Making>,
    /// How many connections there have been.
    changed: watch::Sender<u64>,
}

/// A connection to one server.
pub(super) struct Connected {
    place: Place,
    kv: KvClient,
    lease: LeaseClient,
    watch: WatchClient,
    number: u64,
}

/// How it goes with making a connection.
#[derive(Default)]
struct Making {
    /// The server that is tried next.
    next: usize,
    pause: Duration,
    /// Until when nobody tries again, and why.
    failed: Option<(Instant, Trouble)>,
    /// The log says that there is none.
    is_told: bool,
}

impl Connected {
    pub(super) fn kv(&self) -> KvClient {
        self.kv.clone()
    }

    pub(super) fn lease(&self) -> LeaseClient {
        self.lease.clone()
    }

    pub(super) fn watch(&self) -> WatchClient {
        self.watch.clone()
    }

    /// Which of all connections it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Link {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            current: RwLock::new(None),
            making: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Tells of every new connection.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn current(&self) -> Option<Arc<Connected>> {
        let current = self.current.read();
        current
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn set_current(&self, connected: Option<Arc<Connected>>) {
        let current = self.current.write();
        *current.unwrap_or_else(std::sync::PoisonError::into_inner) = connected;
    }

    /// The connection; a new one, when there is none.
    ///
    /// # Errors
    ///
    /// When none of the servers answers, or one refuses for good.
    pub(super) async fn connected(&self) -> Result<Arc<Connected>, Trouble> {
        if let Some(connected) = self.current() {
            return Ok(connected);
        }
        let mut making = self.making.lock().await;
        // Somebody else may have made one meanwhile, or found that there is none to be had.
        if let Some(connected) = self.current() {
            return Ok(connected);
        }
        if let Some((until, error)) = &making.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let mut trouble = None;
        for _ in 0..self.settings.places.len() {
            let index = making.next % self.settings.places.len();
            match self.try_place(index).await {
                Ok(connected) => {
                    let connected = Arc::new(connected);
                    self.set_current(Some(Arc::clone(&connected)));
                    making.failed = None;
                    making.pause = FIRST_PAUSE;
                    self.changed.send_replace(connected.number);
                    if std::mem::take(&mut making.is_told) {
                        observe::back_in_reach(&self.settings);
                    }
                    return Ok(connected);
                }
                Err(failed) => {
                    making.next = index + 1;
                    // What one of them refuses is clearer than that another cannot be reached.
                    if !matches!(trouble, Some(Trouble::Lasting(_))) {
                        trouble = Some(failed);
                    }
                }
            }
        }
        let trouble = trouble.unwrap_or_else(|| Trouble::Passing(fault::not_connected()));
        // The first connection is somebody's, who is told.
        if *self.changed.borrow() > 0 && !std::mem::replace(&mut making.is_told, true) {
            observe::out_of_reach(&self.settings, &trouble.clone().into_error());
        }
        let pause = making.pause.max(FIRST_PAUSE);
        let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
        making.failed = Some((Instant::now() + jittered, trouble.clone()));
        making.pause = (pause * 2).min(LONGEST_PAUSE);
        Err(trouble)
    }

    /// Connects to one server, and asks it something that a server without a leader cannot answer.
    async fn try_place(&self, index: usize) -> Result<Connected, Trouble> {
        let (url, options) = self.settings.endpoint(index);
        let place = Place {
            host: self.settings.places[index].clone(),
            user: self.settings.user.clone(),
            prefix: self.settings.prefix.clone(),
        };
        let asking = async {
            let client = Client::connect([url], Some(options)).await?;
            let key = Keys::probe(&self.settings.prefix);
            client.kv_client().get(key, None).await?;
            Ok(client)
        };
        let client = match timeout(ANSWERED_WITHIN, asking).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(fault::of_first(&place, error)),
            Err(_) => return Err(Trouble::Passing(fault::silent(&place, ANSWERED_WITHIN))),
        };
        Ok(Connected {
            place,
            kv: client.kv_client().max_decoding_message_size(LONGEST_ANSWER),
            lease: client.lease_client(),
            watch: client
                .watch_client()
                .max_decoding_message_size(LONGEST_ANSWER),
            number: *self.changed.borrow() + 1,
        })
    }

    /// This connection is of no use any more.
    pub(super) fn give_up(&self, connected: &Connected) {
        let is_current = self
            .current()
            .is_some_and(|current| current.number == connected.number);
        if is_current {
            self.set_current(None);
        }
    }

    /// Asks one thing, and waits for the answer for as long as a server may take.
    pub(super) async fn call<T, F>(
        &self,
        ask: impl FnOnce(Arc<Connected>) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call_within(ANSWERED_WITHIN, ask).await
    }

    /// The same, of a server that has so long to answer.
    pub(super) async fn call_within<T, F>(
        &self,
        limit: Duration,
        ask: impl FnOnce(Arc<Connected>) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let connected = self.connected().await?;
        match timeout(limit, ask(Arc::clone(&connected))).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let (trouble, is_broken) = fault::of(&connected.place, error);
                if is_broken {
                    self.give_up_for_next(&connected);
                }
                Err(trouble)
            }
            Err(_) => {
                self.give_up_for_next(&connected);
                let error = fault::silent(&connected.place, limit);
                Err(Trouble::Passing(error.effect_unknown()))
            }
        }
    }

    /// The same, and the next connection is to another server.
    fn give_up_for_next(&self, connected: &Connected) {
        self.give_up(connected);
        if let Ok(mut making) = self.making.try_lock()
            && self.settings.places[making.next % self.settings.places.len()]
                == connected.place.host
        {
            making.next += 1;
        }
    }

    /// Commits a transaction.
    pub(super) async fn commit(&self, txn: Txn) -> Result<TxnResponse, Trouble> {
        self.call(|connected| async move { connected.kv().txn(txn).await })
            .await
    }

    /// Everything that is known of a name.
    pub(super) async fn read(&self, keys: &Keys) -> Result<Record, Trouble> {
        let range = GetOptions::new().with_range(end_of(keys.all()));
        let key = keys.all();
        let found = self
            .call(|connected| async move { connected.kv().get(key, Some(range)).await })
            .await?;
        let revision = found
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        Ok(record_of(keys, revision, found.kvs()))
    }
}

/// The record that these keys of a name make.
pub(super) fn record_of(keys: &Keys, revision: i64, found: &[etcd_client::KeyValue]) -> Record {
    let mut record = Record::at(revision);
    for pair in found {
        if let Some(part) = keys.part(pair.key()) {
            record.put(part, stored(pair));
        }
    }
    record
}

pub(super) fn stored(pair: &etcd_client::KeyValue) -> Stored<'_> {
    Stored {
        value: pair.value(),
        created: pair.create_revision(),
        modified: pair.mod_revision(),
        lease: pair.lease(),
    }
}
