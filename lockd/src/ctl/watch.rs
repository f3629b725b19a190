//! `lockctl watch`.

use std::io;
use std::time::Duration;

use lock_runtime::LockManager;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{isatty, tcgetwinsize};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::args::Watch;
use super::failure::Failure;
use super::place::Place;
use super::text::Clean;
use super::view::LockView;
use super::{exit, output, table};

/// What a look at the store has shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Look {
    Locks(Vec<LockView>),
    Error(String),
}

/// Shows the list of locks again and again.
pub(super) async fn watch(place: &Place, options: &Watch) -> Result<u8, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::os("signals", &error));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let signal = tokio::select! {
        result = look_again(place, options) => return result,
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
        _ = hangup.recv() => SignalKind::hangup(),
    };
    // The cursor is below the table already: nothing else was changed that would have to be
    // given back.
    Ok(exit::by_signal(signal.as_raw_value()))
}

async fn look_again(place: &Place, options: &Watch) -> Result<u8, Failure> {
    // A store that is not there in the beginning is more likely a wrong URL.
    let mut manager = Some(place.connect().await?);
    let mut ticks = tokio::time::interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut screen = Screen::new(options.json);
    loop {
        let look = look(place, &mut manager, &options.prefix).await;
        screen.show(&look)?;
        loop {
            let wait = tokio::time::timeout(Duration::from_millis(100), ticks.tick());
            let is_time = wait.await.is_ok();
            if is_nobody_reading() {
                return Ok(exit::OK);
            }
            if is_time {
                break;
            }
        }
    }
}

/// Looks once; connects again first, where the store was away.
async fn look(place: &Place, manager: &mut Option<LockManager>, prefix: &str) -> Look {
    let connected = match manager.take() {
        Some(connected) => Ok(connected),
        None => place.connect().await,
    };
    let listed = match connected {
        Ok(connected) => {
            let listed = connected.list(prefix).await;
            if listed.is_ok() {
                *manager = Some(connected);
            }
            listed
        }
        Err(error) => Err(error),
    };
    match listed {
        Ok(locks) => Look::Locks(locks.iter().map(LockView::from).collect()),
        Err(error) => Look::Error(error.to_string()),
    }
}

/// Where the looks are shown.
enum Screen {
    /// Drawn again in its place, so many lines above the cursor.
    Terminal { drawn: usize },
    /// One block per change.
    Pipe { json: bool, last: Option<Look> },
}

impl Screen {
    fn new(json: bool) -> Self {
        if isatty(io::stdout()) && !json {
            Self::Terminal { drawn: 0 }
        } else {
            Self::Pipe { json, last: None }
        }
    }

    fn show(&mut self, look: &Look) -> Result<(), Failure> {
        match self {
            Self::Terminal { drawn } => {
                let size = tcgetwinsize(io::stdout()).ok();
                let (columns, rows) = size
                    .filter(|size| size.ws_col > 0 && size.ws_row > 0)
                    .map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
                let (text, lines) = frame(&lines(look, Some(columns)), *drawn, rows);
                *drawn = lines;
                output::write(&text)
            }
            Self::Pipe { json, last } => {
                let now = at_rest(look);
                if last.as_ref() == Some(&now) {
                    return Ok(());
                }
                let is_first = last.is_none();
                *last = Some(now);
                if *json {
                    return output::json(look);
                }
                let gap = if is_first { "" } else { "\n" };
                output::line(&format!("{gap}{}", lines(look, None).join("\n")))
            }
        }
    }
}

/// The same without times that run.
fn at_rest(look: &Look) -> Look {
    match look {
        Look::Locks(locks) => Look::Locks(locks.iter().map(LockView::at_rest).collect()),
        // An error's text may hold a time too: away is away.
        Look::Error(_) => Look::Error(String::new()),
    }
}

fn lines(look: &Look, width: Option<usize>) -> Vec<String> {
    match look {
        Look::Locks(locks) => table::lines(locks, width),
        Look::Error(error) => vec![format!("the store is away: {}", Clean(error))],
    }
}

/// What draws these lines over the last ones, on a terminal of so many rows; and how many lines
/// that were. Long lines are cut off by the terminal, which wraps again when all is drawn.
fn frame(lines: &[String], drawn: usize, rows: usize) -> (String, usize) {
    // The last row is the cursor's.
    let room = rows.saturating_sub(1).max(1);
    let hidden = lines.len().saturating_sub(room);
    let shown = if hidden == 0 { lines.len() } else { room - 1 };
    let mut text = String::from("\x1b[?7l\r");
    if drawn > 0 {
        text.push_str(&format!("\x1b[{}A", drawn.min(room)));
    }
    for line in &lines[..shown] {
        text.push_str(line);
        text.push_str("\x1b[K\n");
    }
    let mut written = shown;
    if hidden > 0 {
        text.push_str(&format!("… and {} more\x1b[K\n", lines.len() - shown));
        written += 1;
    }
    text.push_str("\x1b[J\x1b[?7h");
    (text, written)
}

/// Whether the output is a pipe that nobody reads any more.
fn is_nobody_reading() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().contains(PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[test]
    fn a_frame_is_drawn_over_the_last_one() {
        let (text, drawn) = frame(&numbered(2), 0, 24);
        assert_eq!(text, "\x1b[?7l\r0\x1b[K\n1\x1b[K\n\x1b[J\x1b[?7h");
        assert_eq!(drawn, 2);
        let (text, drawn) = frame(&numbered(1), drawn, 24);
        assert!(text.starts_with("\x1b[?7l\r\x1b[2A0"), "{text:?}");
        assert_eq!(drawn, 1);
    }

    #[test]
    fn a_small_terminal_shows_what_it_has_room_for() {
        let (text, drawn) = frame(&numbered(10), 0, 5);
        assert_eq!(drawn, 4);
        assert!(text.contains("2\x1b[K\n… and 7 more"), "{text:?}");
        // It was made smaller since the last time.
        let (text, _) = frame(&numbered(10), 9, 5);
        assert!(text.contains("\x1b[4A"), "{text:?}");
    }

    #[test]
    fn a_store_that_stays_away_is_told_once() {
        let away = |text: &str| Look::Error(text.into());
        assert_eq!(at_rest(&away("for 1 s")), at_rest(&away("for 2 s")));
        assert_ne!(at_rest(&away("")), Look::Locks(Vec::new()));
    }
}
