//! The connection: made, greeted, read, written, and made anew for as long as it takes.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time;

use super::Shared;
use super::convert::cut;
use super::fault;
use crate::error::BackendError;
use crate::observe;
use crate::owner::host_name;
use crate::sync::atomic::Ordering;
use crate::wire::{
    Encoding, Hello, MAX_HELLO, MAX_REPLY, MAX_TEXT, Nonce, ToClient, ToDaemon, VERSION, next_frame,
};

/// How long a daemon may take for its greeting. A little less than what a manager waits for its
/// backend by default, so that the clearer one of two errors comes first.
pub(super) const GREETING: Duration = Duration::from_secs(4);

/// The pauses between two tries to connect: each is twice the one before, and they are drawn from
/// their second half, so that not everybody comes back at the same moment.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many bytes are read at once, and how often before something is written again.
const READ: usize = 64 * 1024;
const READS: usize = 16;

/// A connection whose greetings are done.
pub(super) struct Link {
    pub(super) stream: Arc<UnixStream>,
    pub(super) encoding: Encoding,
    /// What has come and is not understood yet.
    received: Vec<u8>,
    /// What is read into.
    buffer: Box<[u8]>,
}

/// Connects and greets.
pub(super) async fn open(shared: &Shared) -> Result<Link, BackendError> {
    match time::timeout(GREETING, connect_and_greet(shared)).await {
        Ok(link) => link,
        Err(_) => Err(fault::silent(&shared.place, GREETING)),
    }
}

async fn connect_and_greet(shared: &Shared) -> Result<Link, BackendError> {
    let place = &shared.place;
    let stream = loop {
        match UnixStream::connect(place.path()).await {
            Ok(stream) => break stream,
            // So many are connecting just now that there is no room to wait.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                time::sleep(FIRST_PAUSE).await;
            }
            Err(error) => return Err(fault::no_connection(place, error)),
        }
    };
    let mut greeting = Vec::new();
    Encoding::Json.write(&hello(shared, shared.session_number), &mut greeting);
    let mut rest = &greeting[..];
    while !rest.is_empty() {
        let ready = stream.writable().await;
        match ready.and_then(|()| stream.try_write(rest)) {
            Ok(written) => rest = &rest[written..],
            Err(error) if is_temporary(&error) => {}
            // Whoever refuses may hang up without reading; what it says comes first.
            Err(_) => break,
        }
    }
    let (mut received, mut seen) = (Vec::new(), 0);
    let mut buffer = vec![0; READ].into_boxed_slice();
    let frame = loop {
        let frame = next_frame(&received, seen, Encoding::Json, MAX_HELLO)
            .map_err(|error| fault::unreadable(place, error))?;
        if let Some(frame) = frame {
            break frame;
        }
        seen = received.len();
        let ready = stream.readable().await;
        match ready.and_then(|()| read_once(&stream, &mut buffer, &mut received)) {
            Ok(0) => return Err(fault::hung_up(place)),
            Ok(_) => {}
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(fault::broken(place, error)),
        }
    };
    let message = Encoding::Json
        .read(&received[frame.message])
        .map_err(|error| fault::unreadable(place, error))?;
    let encoding = match message {
        ToClient::Hello(welcome) if welcome.version == VERSION => welcome.encoding,
        ToClient::Hello(welcome) => return Err(fault::other_version(place, welcome.version)),
        ToClient::Error { code, message, .. } => return Err(fault::refused(place, code, &message)),
        ToClient::Bye { reason } => return Err(fault::bye(place, &reason)),
        _ => return Err(fault::nonsense(place, "an answer instead of a greeting")),
    };
    received.drain(..frame.end);
    Ok(Link {
        stream: Arc::new(stream),
        encoding,
        received,
        buffer,
    })
}

fn hello(shared: &Shared, session: Nonce) -> ToDaemon<'_> {
    ToDaemon::Hello(Hello {
        version: VERSION,
        application: Cow::from(cut(shared.process.application(), MAX_TEXT)),
        host: Cow::from(cut(host_name(), MAX_TEXT)),
        encoding: Encoding::Postcard,
        session: Some(session),
        connection: shared.connections.fetch_add(1, Ordering::Relaxed) + 1,
    })
}

/// Keeps the session connected until nobody needs it any more.
pub(super) async fn keep(shared: Arc<Shared>, first: Link) {
    // When the thread ends that this runs on, nothing is answered any more.
    let _closes = Closes(Arc::clone(&shared));
    let mut link = first;
    let mut outage = Outage::default();
    loop {
        let why = serve(&shared, &mut link, &mut outage).await;
        let Some(why) = why.filter(|_| !shared.is_closed()) else {
            return;
        };
        shared.with(|session, _, news| session.cut(&why, news));
        drop(link);
        outage.tell(&shared, &why);
        link = loop {
            time::sleep(outage.next_pause()).await;
            if shared.is_closed() {
                return;
            }
            match open(&shared).await {
                Ok(link) => break link,
                Err(why) => shared.with(|session, now, news| session.still_down(now, &why, news)),
            }
        };
        if !shared.resume(&link) {
            return;
        }
    }
}

struct Closes(Arc<Shared>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.with(|session, _, news| session.close(news));
    }
}

/// The time in which the daemon is out of reach, connections that come to nothing included.
#[derive(Default)]
struct Outage {
    /// How many times a connection was tried; `None` while there is no outage.
    tries: Option<u32>,
}

impl Outage {
    /// The connection is cut: that is told once.
    fn tell(&mut self, shared: &Shared, why: &BackendError) {
        if self.tries.is_none() {
            self.tries = Some(0);
            observe::out_of_reach(&shared.place, why);
        }
    }

    fn next_pause(&mut self) -> Duration {
        let tries = self.tries.get_or_insert(0);
        let pause = FIRST_PAUSE.saturating_mul(1 << (*tries).min(10));
        *tries = tries.saturating_add(1);
        pause
            .min(LONGEST_PAUSE)
            .mul_f64(rand::random_range(0.5..1.0))
    }

    /// Everything is as it was before.
    fn is_over(&mut self, shared: &Shared) {
        if self.tries.take().is_some() {
            observe::back_in_reach(&shared.place);
        }
    }
}

/// Carries what is said, until the connection is cut, or nobody needs it any more: then `None`.
///
/// It never waits for the daemon to read before it goes on reading itself.
async fn serve(shared: &Shared, link: &mut Link, outage: &mut Outage) -> Option<BackendError> {
    let place = &shared.place;
    let (mut sending, mut sent) = (Vec::new(), 0);
    loop {
        if sent == sending.len() {
            sending.clear();
            sent = 0;
            if !shared.take_output(&mut sending) {
                return None;
            }
        }
        let mut write_error = None;
        while sent < sending.len() && write_error.is_none() {
            match link.stream.try_write(&sending[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_temporary(&error) => {}
                Err(error) => write_error = Some(fault::broken(place, error)),
            }
        }
        if write_error.is_none() {
            wait_for_news(shared, &link.stream, sent < sending.len()).await;
        }
        // What the daemon said before it hung up is heard in any case.
        if let Err(why) = hear(shared, link) {
            return Some(why);
        }
        if write_error.is_some() {
            return write_error;
        }
        if outage.tries.is_some() && shared.is_settled() {
            outage.is_over(shared);
        }
        // Who was woken by what was heard asks its next question now, and all of them go out
        // together.
        tokio::task::yield_now().await;
    }
}

/// Waits until there is something to read, to take, or room to write.
async fn wait_for_news(shared: &Shared, stream: &UnixStream, wants_to_write: bool) {
    let mut woken = pin!(shared.wake.notified());
    poll_fn(|cx| {
        // Each of them has to be asked, to be woken by each.
        let is_woken = woken.as_mut().poll(cx).is_ready();
        let is_readable = stream.poll_read_ready(cx).is_ready();
        let is_writable = wants_to_write && stream.poll_write_ready(cx).is_ready();
        if is_woken || is_readable || is_writable {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Reads what is there, and acts on it.
fn hear(shared: &Shared, link: &mut Link) -> Result<(), BackendError> {
    let place = &shared.place;
    let mut end = None;
    for _ in 0..READS {
        match read_once(&link.stream, &mut link.buffer, &mut link.received) {
            Ok(0) => end = Some(fault::hung_up(place)),
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_temporary(&error) => continue,
            Err(error) => end = Some(fault::broken(place, error)),
        }
        break;
    }
    let mut start = 0;
    let heard = shared.with(|session, now, news| {
        while let Some(frame) = next_frame(&link.received[start..], 0, link.encoding, MAX_REPLY)
            .map_err(|error| fault::unreadable(place, error))?
        {
            let message = start + frame.message.start..start + frame.message.end;
            let message = link.encoding.read(&link.received[message]);
            start += frame.end;
            let message = message.map_err(|error| fault::unreadable(place, error))?;
            session.received(now, message, news)?;
        }
        Ok(())
    });
    link.received.drain(..start);
    heard?;
    end.map_or(Ok(()), Err)
}

fn read_once(stream: &UnixStream, buffer: &mut [u8], received: &mut Vec<u8>) -> io::Result<usize> {
    let read = stream.try_read(buffer)?;
    received.extend_from_slice(&buffer[..read]);
    Ok(read)
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
