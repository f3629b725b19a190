//! A connection to the database: made, driven, and closed when it is dropped.

use std::future::poll_fn;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time;
use tokio_postgres::NoTls;
use tokio_postgres::{AsyncMessage, Client, Connection, Notification, Socket};

use super::fault::{self, Fault};
use super::settings::Target;
use super::tls::Tls;

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
    /// Connects and logs in.
    pub(super) async fn open(
        target: &Target,
        application: &str,
        notifications: Option<Notifications>,
    ) -> Result<Self, Fault> {
        let mut config = target.config.clone();
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
            Ok(Err(error)) => Err(fault::no_connection(&target.place, &error)),
            Err(_) => Err(fault::connecting_took_too_long(
                &target.place,
                target.timeout,
            )),
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
