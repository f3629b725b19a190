//! Writes a name from the pieces of a template, encoding the values on the way.

use std::fmt::{self, Write as _};

use compact_str::CompactString;

use super::{Fault, LockName, NameError, check_length, hash, must_be_encoded_as_blank};

/// More than the longest key is never needed: what is longer is refused anyway, and a value must
/// not be able to fill the memory.
const ENOUGH: usize = 2 * LockName::MAX_LEN;

/// Receives the pieces of a template: literal text as it is, values encoded.
///
/// In a value, `%`, `:`, `/`, `#`, white space and control characters are percent-encoded as the
/// bytes of their UTF-8 form; everything else stays as it is. A value can therefore not add a
/// separator, and two different lists of values give two different names.
#[derive(Debug)]
pub struct NameWriter<'a> {
    text: &'a mut CompactString,
    unformattable: bool,
}

impl NameWriter<'_> {
    /// Appends a piece of the template itself.
    #[inline]
    pub fn literal(&mut self, piece: &str) {
        push(self.text, piece);
    }

    /// Appends texts and values in turn; a text comes first, and may be empty.
    pub(crate) fn alternating(&mut self, texts: &[&str], values: &[fmt::Arguments<'_>]) {
        let mut texts = texts.iter();
        for value in values {
            if let Some(text) = texts.next() {
                self.literal(text);
            }
            self.value(*value);
        }
        for text in texts {
            self.literal(text);
        }
    }

    /// Appends a value.
    pub fn value(&mut self, value: fmt::Arguments<'_>) {
        if Encoder(self.text).write_fmt(value).is_err() {
            self.unformattable = true;
        }
    }
}

/// Makes a name in this namespace (empty for none) from what `write` writes.
pub(crate) fn write_name(
    namespace: &str,
    write: impl FnOnce(&mut NameWriter<'_>),
) -> Result<LockName, NameError> {
    let mut name = LockName::blank();
    name.write_anew(namespace, write)?;
    Ok(name)
}

impl LockName {
    /// A place for a name.
    pub(crate) const fn blank() -> Self {
        Self {
            key: CompactString::const_new("/"),
            hash: 0,
            start: 1,
        }
    }

    /// Makes another name of it, where it stands. After an error it is none.
    #[inline]
    pub(crate) fn write_anew(
        &mut self,
        namespace: &str,
        write: impl FnOnce(&mut NameWriter<'_>),
    ) -> Result<(), NameError> {
        self.key.clear();
        self.key.push_str(namespace);
        self.key.push_str("/");
        let mut writer = NameWriter {
            text: &mut self.key,
            unformattable: false,
        };
        write(&mut writer);
        let unformattable = writer.unformattable;
        self.finish(namespace.len() + 1, unformattable)
    }

    fn finish(&mut self, start: usize, unformattable: bool) -> Result<(), NameError> {
        let name = &self.key[start..];
        if unformattable {
            return Err(NameError::new(name, Fault::Unformattable));
        }
        // The pieces of a template are checked when it is compiled, and values are encoded: only
        // the length is left to be checked.
        check_length(name)?;
        self.start = u16::try_from(start).expect("a namespace is at most 64 bytes long");
        self.hash = hash(&self.key);
        Ok(())
    }
}

/// Appends what there is room for.
#[inline]
fn push(text: &mut CompactString, piece: &str) {
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

struct Encoder<'a>(&'a mut CompactString);

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
fn encode(text: &mut CompactString, value: &str) {
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
