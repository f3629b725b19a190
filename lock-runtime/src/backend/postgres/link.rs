//! A connection to the database: made, driven, and closed when it is dropped.

use std::future::poll_fn;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time;
use tokio_postgres::NoTls;
use tokio_postgres::{AsyncMessage, Client, Connection, Notification, Socket};

use super::fault::{self, Fault};
use super::settings::{HostTarget, Target};
use super::tls::Tls;
use crate::sync::atomic::Ordering;

/// What the service calls itself in `pg_stat_activity`, of which PostgreSQL shows 63 bytes.
const MAX_APPLICATION: usize = 63;

/// A connection. It is closed when this is dropped.
pub(super) struct Link {
    pub(super) client: Client,
    driver: JoinHandle<()>,
}

/// Where notifications go.
pub(super) type Notifications = UnboundedSender<Notification>;

impl Link {
    /// Connects and logs in, at the first host that lets it. Those who come after begin with that
    /// one, or with the one after the last that failed.
    pub(super) async fn open(
        target: &Target,
        application: &str,
        notifications: Option<Notifications>,
    ) -> Result<Self, Fault> {
        let mut faults = Vec::new();
        let begin = target.next.load(Ordering::Relaxed);
        for offset in 0..target.hosts.len() {
            let index = (begin + offset) % target.hosts.len();
            // Said before, for one who is not patient enough to hear that it failed.
            target.next.store(index + 1, Ordering::Relaxed);
            let host = &target.hosts[index];
            match Self::open_host(target, host, application, notifications.clone()).await {
                Ok(link) => {
                    target.next.store(index, Ordering::Relaxed);
                    return Ok(link);
                }
                Err(fault) => faults.push(fault),
            }
        }
        Err(fault::of_all_hosts(faults))
    }

    async fn open_host(
        target: &Target,
        host: &HostTarget,
        application: &str,
        notifications: Option<Notifications>,
    ) -> Result<Self, Fault> {
        let mut config = host.config.clone();
        let end = application.floor_char_boundary(MAX_APPLICATION);
        config.application_name(&application[..end]);
        let open = async {
            match &target.tls {
                Tls::Off => drive(config.connect(NoTls).await?, notifications),
                #[cfg(feature = "postgres-tls")]
                Tls::On { connect, .. } => {
                    drive(config.connect(connect.clone()).await?, notifications)
                }
            }
        };
        // A server may take the connection and then say nothing, for each of its addresses.
        match time::timeout(target.timeout, open).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(fault::no_connection(&host.place, &error)),
            Err(_) => Err(fault::connecting_took_too_long(&host.place, target.timeout)),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Waits until the connection has ended.
    pub(super) async fn closed(&mut self) {
        // However it ended, it has.
        let _ended = (&mut self.driver).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn drive<S>(
    (client, mut connection): (Client, Connection<Socket, S>),
    notifications: Option<Notifications>,
) -> Result<Link, tokio_postgres::Error>
where
    S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    let driver = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let (AsyncMessage::Notification(news), Some(to)) = (message, &notifications)
                && to.send(news).is_err()
            {
                break;
            }
        }
    });
    Ok(Link { client, driver })
}
