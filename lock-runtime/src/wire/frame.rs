//! How messages are framed: a line of JSON each, or a length and a compact encoding of the same.

use std::fmt::{self, Write as _};
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How the messages of a connection are encoded, after the greetings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// A line each: for everybody.
    #[default]
    Json,
    /// Four bytes of length, the lowest first, and the message in the [postcard] encoding: for
    /// clients that were built with the daemon.
    ///
    /// [postcard]: https://postcard.jamesmunns.com/wire-format
    Postcard,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than it may be.
    #[error("a message of more than {limit} bytes; nobody needs a longer one")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
    /// It is not a message of this protocol.
    #[error("not a message of this protocol: {reason}; it was `{excerpt}`")]
    Malformed {
        /// What is wrong with it.
        reason: String,
        /// How it begins, with everything unprintable escaped.
        excerpt: String,
    },
}

/// How many bytes say the length of a compact frame.
const LENGTH: usize = 4;

/// One frame in a buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Where the message is.
    pub message: Range<usize>,
    /// Where the next frame begins.
    pub end: usize,
}

/// Finds the first frame in what was received. `None` when it is not there in whole yet.
///
/// `seen` says how many of the bytes were there at the last call, and had no end of a line.
///
/// # Errors
///
/// When the frame is longer than `limit`, whether it is there in whole or not.
pub fn next_frame(
    received: &[u8],
    seen: usize,
    encoding: Encoding,
    limit: usize,
) -> Result<Option<Frame>, FrameError> {
    let too_long = FrameError::TooLong { limit };
    match encoding {
        Encoding::Json => {
            let unseen = received.get(seen..).unwrap_or_default();
            match unseen.iter().position(|byte| *byte == b'\n') {
                Some(end) if seen + end < limit => Ok(Some(Frame {
                    message: 0..seen + end,
                    end: seen + end + 1,
                })),
                None if received.len() < limit => Ok(None),
                Some(_) | None => Err(too_long),
            }
        }
        Encoding::Postcard => {
            let Some((length, rest)) = received.split_first_chunk::<LENGTH>() else {
                return Ok(None);
            };
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            if length > limit - LENGTH {
                return Err(too_long);
            }
            Ok((rest.len() >= length).then(|| Frame {
                message: LENGTH..LENGTH + length,
                end: LENGTH + length,
            }))
        }
    }
}

impl Encoding {
    /// Appends a message as one frame.
    ///
    /// # Panics
    ///
    /// Never with the messages of this protocol: each of them can be encoded.
    pub fn write(self, message: &impl Serialize, to: &mut Vec<u8>) {
        let start = to.len();
        let written = match self {
            Self::Json => serde_json::to_writer(&mut *to, message).map_err(|e| e.to_string()),
            Self::Postcard => {
                to.extend_from_slice(&[0; LENGTH]);
                postcard::to_io(message, &mut *to)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }
        };
        if let Err(error) = written {
            unreachable!("a message of the protocol cannot be encoded: {error}");
        }
        match self {
            Self::Json => to.push(b'\n'),
            Self::Postcard => {
                let length = u32::try_from(to.len() - start - LENGTH).unwrap_or(u32::MAX);
                to[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
            }
        }
    }

    /// Reads the message of one frame.
    ///
    /// # Errors
    ///
    /// When it is not a message; the error says what is wrong, and where.
    pub fn read<'a, M: Deserialize<'a>>(self, message: &'a [u8]) -> Result<M, FrameError> {
        let read = match self {
            Self::Json => serde_json::from_slice(message).map_err(|error| error.to_string()),
            Self::Postcard => match postcard::take_from_bytes(message) {
                Ok((message, [])) => Ok(message),
                Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
                Err(error) => Err(error.to_string()),
            },
        };
        read.map_err(|reason| FrameError::Malformed {
            reason,
            excerpt: Excerpt(message).to_string(),
        })
    }
}

/// The beginning of something foreign, safe to be shown.
struct Excerpt<'a>(&'a [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        for chunk in shown.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' | '\'' => f.write_char(character)?,
                    _ => write!(f, "{}", character.escape_debug())?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        if self.0.len() > SHOWN {
            f.write_str("…")?;
        }
        Ok(())
    }
}
