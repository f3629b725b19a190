//! Writes a name from the pieces of a template, encoding the values on the way.

use std::fmt::{self, Write as _};

use smol_str::SmolStr;

use super::{Fault, LockName, NameError, check, must_be_encoded_as_blank};

/// How many bytes of a key are gathered without touching the heap. Most names are shorter; one
/// that is not costs an allocation.
const ON_STACK: usize = 120;

/// Receives the pieces of a template: literal text as it is, values encoded.
///
/// In a value, `%`, `:`, `/`, `#`, white space and control characters are percent-encoded as the
/// bytes of their UTF-8 form; everything else stays as it is. A value can therefore not add a
/// separator, and two different lists of values give two different names.
#[derive(Debug)]
pub struct NameWriter<'a> {
    text: &'a mut Text,
    unformattable: bool,
}

impl NameWriter<'_> {
    /// Appends a piece of the template itself.
    #[inline]
    pub fn literal(&mut self, piece: &str) {
        self.text.push(piece);
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
    let mut text = Text::default();
    text.push(namespace);
    text.push("/");
    let mut writer = NameWriter {
        text: &mut text,
        unformattable: false,
    };
    write(&mut writer);
    let unformattable = writer.unformattable;

    let key = text.as_str();
    let start = namespace.len() + 1;
    if unformattable {
        return Err(NameError::new(&key[start..], Fault::Unformattable));
    }
    check(&key[start..])?;
    Ok(LockName::from_checked_key(SmolStr::new(key), start))
}

/// A text that starts on the stack and moves to the heap when it grows.
#[derive(Debug)]
struct Text {
    stack: [u8; ON_STACK],
    used: usize,
    heap: String,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            stack: [0; ON_STACK],
            used: 0,
            heap: String::new(),
        }
    }
}

impl Text {
    #[inline]
    fn push(&mut self, piece: &str) {
        let end = self.used + piece.len();
        if self.heap.is_empty() && end <= ON_STACK {
            self.stack[self.used..end].copy_from_slice(piece.as_bytes());
            self.used = end;
        } else {
            self.push_on_heap(piece);
        }
    }

    #[cold]
    fn push_on_heap(&mut self, piece: &str) {
        /// More than the longest key is never needed: what is longer is refused anyway, and a
        /// value must not be able to fill the memory.
        const ENOUGH: usize = 2 * LockName::MAX_LEN;
        if self.heap.is_empty() {
            let gathered = self.as_str().to_owned();
            self.heap = gathered;
        }
        let room = ENOUGH.saturating_sub(self.heap.len());
        let end = (0..=piece.len().min(room))
            .rev()
            .find(|end| piece.is_char_boundary(*end))
            .unwrap_or(0);
        self.heap.push_str(&piece[..end]);
    }

    fn as_str(&self) -> &str {
        if self.heap.is_empty() {
            // Only whole pieces of valid text were copied, so that this never fails.
            std::str::from_utf8(&self.stack[..self.used]).unwrap_or_default()
        } else {
            &self.heap
        }
    }
}

struct Encoder<'a>(&'a mut Text);

impl fmt::Write for Encoder<'_> {
    #[inline]
    fn write_str(&mut self, value: &str) -> fmt::Result {
        let plain = value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b':' | b'/' | b'#'));
        if plain {
            self.0.push(value);
        } else {
            encode(self.0, value);
        }
        Ok(())
    }
}

#[cold]
fn encode(text: &mut Text, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for character in value.chars() {
        let mut utf8 = [0; 4];
        let piece = character.encode_utf8(&mut utf8);
        if !matches!(character, '%' | ':' | '/' | '#') && !must_be_encoded_as_blank(character) {
            text.push(piece);
            continue;
        }
        for byte in piece.bytes() {
            let high = char::from(HEX[usize::from(byte >> 4)]);
            let low = char::from(HEX[usize::from(byte & 15)]);
            let mut encoded = [0; 3];
            for (slot, character) in encoded.iter_mut().zip(['%', high, low]) {
                *slot = character as u8;
            }
            text.push(std::str::from_utf8(&encoded).unwrap_or_default());
        }
    }
}
