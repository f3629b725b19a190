//! One connection: bytes from the peer to the engine, and back.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::driver::Driver;
use crate::engine::{ConnectionId, Peer};

/// How long a peer may take for the last words on a connection that is being closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves one connection until either side ends it.
///
/// Reading never waits for writing: a peer that does not read while it writes would wait for us,
/// and we for it. What piles up is bounded by the engine, which closes the connection.
///
/// # Cancel safety
///
/// Dropped at any point, the engine is told that the connection has ended.
#[derive(Debug)]
#[must_use = "a connection is served while it is awaited"]
pub struct Connection<S> {
    stream: S,
    served: Served,
    /// When a connection that is being closed is given up.
    given_up: Option<Pin<Box<Sleep>>>,
    /// The peer takes nothing any more. What it said before is still listened to: the last of it
    /// may be its goodbye.
    deaf: bool,
}

/// The connection as the engine knows it. Dropping it says that it has ended.
#[derive(Debug)]
struct Served {
    driver: Rc<Driver>,
    id: ConnectionId,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.driver.disconnected(self.id);
    }
}

/// What a look at the peer's side found.
enum Heard {
    /// Everything that was there.
    All,
    /// As much as is read at a time; more may be there.
    Much,
    /// The end.
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Announces a connection to the engine.
    pub fn new(driver: &Rc<Driver>, stream: S, peer: Peer) -> Self {
        let id = driver.connect(peer);
        Self {
            stream,
            served: Served {
                driver: Rc::clone(driver),
                id,
            },
            given_up: None,
            deaf: false,
        }
    }

    /// Sends what there is to send. Pending when the peer does not take all of it now.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Served { driver, id } = &self.served;
        loop {
            let sent = driver.look(|engine| {
                let output = engine.output(*id);
                if output.is_empty() {
                    None
                } else if self.deaf {
                    Some(Poll::Ready(Ok(output.len())))
                } else {
                    Some(Pin::new(&mut self.stream).poll_write(cx, output))
                }
            });
            match sent {
                None => return Poll::Ready(()),
                Some(sent) => match ready!(sent) {
                    Ok(sent @ 1..) => {
                        driver.turn_of(Some(*id), |engine, _| engine.written(*id, sent));
                    }
                    Ok(0) => self.deaf = true,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        tracing::debug!(connection = ?id, %error, "the peer takes nothing more");
                        self.deaf = true;
                    }
                },
            }
        }
    }

    /// Hears what the peer has said, at most as much as the buffer takes.
    fn hear(&mut self, cx: &mut Context<'_>) -> Heard {
        let Served { driver, id } = &self.served;
        if driver.look(|engine| engine.is_behind(*id)) {
            driver.turn_of(Some(*id), |engine, now| engine.received(now, *id, &[]));
            return Heard::Much;
        }
        let mut scratch = driver.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        let heard = loop {
            let before = buffer.filled().len();
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => break Heard::All,
                Poll::Ready(Ok(())) if buffer.remaining() == 0 => break Heard::Much,
                Poll::Ready(Ok(())) if buffer.filled().len() == before => break Heard::End,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => {
                    tracing::debug!(connection = ?id, %error, "the peer cannot be heard any more");
                    break Heard::End;
                }
            }
        };
        if !buffer.filled().is_empty() {
            let bytes = buffer.filled();
            driver.turn_of(Some(*id), |engine, now| engine.received(now, *id, bytes));
        }
        if matches!(heard, Heard::All) && driver.look(|engine| engine.is_behind(*id)) {
            return Heard::Much;
        }
        heard
    }

    /// Ready when the connection is over: it was to be closed and everything is sent, or the
    /// peer has had its time for that.
    fn closed(&mut self, cx: &mut Context<'_>, sent: Poll<()>) -> Poll<()> {
        let Served { driver, id } = &self.served;
        if !driver.look(|engine| engine.is_closing(*id)) {
            return Poll::Pending;
        }
        if sent.is_ready() {
            return Poll::Ready(());
        }
        let given_up = self
            .given_up
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_WORDS)));
        given_up.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Before anything is looked at, so that no news falls in between.
        this.served.driver.wake_for_news(this.served.id, cx.waker());

        let sent = this.send(cx);
        if this.closed(cx, sent).is_ready() {
            return Poll::Ready(());
        }
        let was_deaf = this.deaf;
        let heard = this.hear(cx);
        let sent = this.send(cx);
        if this.closed(cx, sent).is_ready() {
            return Poll::Ready(());
        }
        match heard {
            Heard::End => return Poll::Ready(()),
            // Whoever takes nothing says nothing more either: all that it said has been heard.
            Heard::All if was_deaf => return Poll::Ready(()),
            // Its last words may have come after we listened.
            Heard::All if this.deaf => cx.waker().wake_by_ref(),
            Heard::All => {}
            // There may be more, but the others come first, also those whose news the runtime has
            // not looked for yet: a task that wakes itself would come before them many times.
            Heard::Much => {
                let yields = pin!(tokio::task::yield_now());
                if yields.poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
            }
        }
        Poll::Pending
    }
}
