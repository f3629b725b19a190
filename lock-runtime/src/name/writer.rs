//! Writes a name from the pieces of a template, encoding the values on the way.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use smol_str::SmolStr;

use super::{Fault, LockName, NameError, check_length, must_be_encoded_as_blank};

/// More than the longest key is never needed: what is longer is refused anyway, and a value must
/// not be able to fill the memory.
const ENOUGH: usize = 2 * LockName::MAX_LEN;

thread_local! {
    /// Where keys are gathered; used again, so that a short one costs no allocation.
    static GATHERED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Receives the pieces of a template: literal text as it is, values encoded.
///
/// In a value, `%`, `:`, `/`, `#`, white space and control characters are percent-encoded as the
/// bytes of their UTF-8 form; everything else stays as it is. A value can therefore not add a
/// separator, and two different lists of values give two different names.
#[derive(Debug)]
pub struct NameWriter<'a> {
    text: &'a mut String,
    unformattable: bool,
}

impl NameWriter<'_> {
    /// Appends a piece of the template itself.
    #[inline]
    pub fn literal(&mut self, piece: &str) {
        push(self.text, piece);
    }

    /// Appends a value.
    pub fn value(&mut self, value: fmt::Arguments<'_>) {
        if Encoder(self.text).write_fmt(value).is_err() {
            self.unformattable = true;
        }
    }
}

/// Makes a name in this namespace (empty for none) from what `write` writes.
#[inline]
pub(crate) fn write_name(
    namespace: &str,
    write: impl FnOnce(&mut NameWriter<'_>),
) -> Result<LockName, NameError> {
    // Taken out, because what formats a value may make a name itself.
    let mut text = GATHERED.try_with(RefCell::take).unwrap_or_default();
    text.clear();
    text.push_str(namespace);
    text.push('/');
    let mut writer = NameWriter {
        text: &mut text,
        unformattable: false,
    };
    write(&mut writer);
    let unformattable = writer.unformattable;
    let name = finish(&text, namespace.len() + 1, unformattable);
    let _ended = GATHERED.try_with(|gathered| gathered.replace(text));
    name
}

#[inline]
fn finish(key: &str, start: usize, unformattable: bool) -> Result<LockName, NameError> {
    if unformattable {
        return Err(NameError::new(&key[start..], Fault::Unformattable));
    }
    // The pieces of a template are checked when it is compiled, and values are encoded: only the
    // length is left to be checked.
    check_length(&key[start..])?;
    Ok(LockName::from_checked_key(SmolStr::new(key), start))
}

/// Appends what there is room for.
#[inline]
fn push(text: &mut String, piece: &str) {
    let room = ENOUGH.saturating_sub(text.len());
    text.push_str(if piece.len() <= room {
        piece
    } else {
        fitting(piece, room)
    });
}

#[cold]
fn fitting(piece: &str, room: usize) -> &str {
    let end = (0..=room).rev().find(|end| piece.is_char_boundary(*end));
    &piece[..end.unwrap_or(0)]
}

struct Encoder<'a>(&'a mut String);

impl fmt::Write for Encoder<'_> {
    #[inline]
    fn write_str(&mut self, value: &str) -> fmt::Result {
        let plain = value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b':' | b'/' | b'#'));
        if plain {
            push(self.0, value);
        } else {
            encode(self.0, value);
        }
        Ok(())
    }
}

#[cold]
fn encode(text: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for character in value.chars() {
        let mut utf8 = [0; 4];
        let piece = character.encode_utf8(&mut utf8);
        if !matches!(character, '%' | ':' | '/' | '#') && !must_be_encoded_as_blank(character) {
            push(text, piece);
            continue;
        }
        for byte in piece.bytes() {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            let encoded = [b'%', high, low];
            push(text, std::str::from_utf8(&encoded).unwrap_or_default());
        }
    }
}
