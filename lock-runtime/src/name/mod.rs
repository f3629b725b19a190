//! Lock names: what is locked, checked once and cheap to copy.

mod into_name;
mod writer;

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::LazyLock;

use compact_str::{CompactString, format_compact};
use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};

pub use into_name::IntoLockName;
pub use writer::NameWriter;
pub(crate) use writer::write_name;

/// A valid lock name, such as `task:42`.
///
/// A name has between 1 and [`LockName::MAX_LEN`] bytes, no white space, no control characters,
/// and `%` only as the start of a percent-encoded byte. Names are compared byte by byte: Unicode
/// is not normalised.
///
/// A name that is made from a template, by `#[locked]` or by [`lock_name!`](crate::lock_name!),
/// has its values encoded, so that no value can change its shape. A plain string is taken as it
/// is and only checked.
///
/// A name also carries the namespace of the manager that uses it. The namespace is part of what
/// is locked, and of [`LockName::key`]; it is not shown.
///
/// ```
/// use lock_runtime::LockName;
///
/// let name = LockName::new("task:42")?;
/// assert_eq!(name.as_str(), "task:42");
/// assert!(LockName::new("two words").is_err());
/// # Ok::<(), lock_runtime::NameError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LockName {
    /// The key: the namespace, a slash, the name. A namespace has no slash in it, so that two
    /// different pairs never give one key.
    key: CompactString,
    /// The key's hash under a random seed of this process, made once: every table that the name
    /// is looked up in needs it.
    hash: u32,
    /// Where the name begins in the key.
    start: u16,
}

impl LockName {
    /// The longest name, in bytes after encoding.
    pub const MAX_LEN: usize = 512;

    /// Checks a plain string and takes it as it is.
    ///
    /// # Errors
    ///
    /// When the string is empty, too long, or has white space, control characters or a `%` that
    /// is not followed by two hexadecimal digits. The error names the place.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        check(name)?;
        Ok(Self::from_parts("", name))
    }

    /// The name, without its namespace.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.key[usize::from(self.start)..]
    }

    /// The namespace, empty when there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.key[..usize::from(self.start) - 1]
    }

    /// What a backend stores and compares: `namespace/name`.
    ///
    /// A namespace has no slash in it, so that no name of one namespace meets a name of another.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The name that [`LockName::key`] gave this key for, as a backend reads it back.
    ///
    /// # Errors
    ///
    /// When the string is not the key of a valid name.
    pub fn from_key(key: &str) -> Result<Self, NameError> {
        let (namespace, name) = key.split_once('/').ok_or_else(|| NameError {
            name: key.into(),
            fault: Fault::NoNamespace,
        })?;
        check(name)?;
        Ok(Self::from_parts(namespace, name))
    }

    /// The same name in another namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        if self.namespace() == namespace {
            self.clone()
        } else {
            Self::from_parts(namespace, self.as_str())
        }
    }

    fn from_parts(namespace: &str, name: &str) -> Self {
        let start = namespace.len() + 1;
        let key = if start == 1 {
            format_compact!("/{name}")
        } else {
            format_compact!("{namespace}/{name}")
        };
        Self::from_checked_key(key, start)
    }

    #[inline]
    fn from_checked_key(key: CompactString, start: usize) -> Self {
        let start = u16::try_from(start).expect("a namespace is at most 64 bytes long");
        let hash = hash(&key);
        Self { key, hash, start }
    }

    /// The hash of the key, spread over 64 bits.
    #[inline]
    pub(crate) fn hash64(&self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Under a random seed of this process, because names hold values that come from outside: who
/// does not see the hashes cannot choose names that meet. Names are compared by their keys.
#[inline]
fn hash(key: &str) -> u32 {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    let hash = SEED.hash_one(key);
    (hash ^ (hash >> 32)) as u32
}

impl PartialEq for LockName {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.key == other.key
    }
}

impl Eq for LockName {}

impl Hash for LockName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl PartialOrd for LockName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LockName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Debug for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl AsRef<str> for LockName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<LockName> for String {
    fn from(name: LockName) -> Self {
        name.as_str().to_owned()
    }
}

impl TryFrom<String> for LockName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl std::str::FromStr for LockName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// A text that is no lock name, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is not a {what}: {fault}", shown = shown(.name), what = .fault.of_what())]
pub struct NameError {
    name: CompactString,
    fault: Fault,
}

impl NameError {
    pub(crate) fn new(name: &str, fault: Fault) -> Self {
        Self {
            name: name.into(),
            fault,
        }
    }

    /// The text that was refused, as far as it is known; a text that is too long is cut.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {max} bytes; use a shorter value, or a hash of it", max = LockName::MAX_LEN)]
    TooLong,
    #[error(
        "{0:?} at byte {1} is white space or a control character; values of a template are encoded, plain names have to come without"
    )]
    Blank(char, usize),
    #[error(
        "`%` at byte {0} is not followed by two hexadecimal digits; write `%25` for a percent sign"
    )]
    BrokenPercent(usize),
    #[error("the key has no namespace before a slash")]
    NoNamespace,
    #[error("a value in it could not be formatted: its `Display` or `Debug` reported an error")]
    Unformattable,
    #[error("it takes 1 to 64 ASCII letters, digits, `.`, `-` and `_`")]
    Namespace,
}

impl Fault {
    /// What the text should have been.
    fn of_what(&self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            _ => "lock name",
        }
    }
}

/// Names in errors are cut and escaped: a name is somebody's input, an error goes to a terminal.
fn shown(name: &str) -> String {
    const LONGEST: usize = 128;
    let mut shown: String = name
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Checks a namespace: 1 to 64 letters, digits, `.`, `-` and `_`.
pub(crate) fn check_namespace(namespace: &str) -> Result<(), NameError> {
    let valid = (1..=64).contains(&namespace.len())
        && namespace
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if valid {
        Ok(())
    } else {
        Err(NameError::new(namespace, Fault::Namespace))
    }
}

fn check(name: &str) -> Result<(), NameError> {
    check_length(name)?;
    find_fault(name).map_or(Ok(()), |fault| Err(NameError::new(name, fault)))
}

#[inline]
fn check_length(name: &str) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::new(name, Fault::Empty)),
        1..=LockName::MAX_LEN => Ok(()),
        _ => Err(NameError::new(cut(name), Fault::TooLong)),
    }
}

fn find_fault(name: &str) -> Option<Fault> {
    let bytes = name.as_bytes();
    for (index, character) in name.char_indices() {
        if must_be_encoded_as_blank(character) {
            return Some(Fault::Blank(character, index));
        }
        let is_hex = |offset: usize| bytes.get(index + offset).is_some_and(u8::is_ascii_hexdigit);
        if character == '%' && !(is_hex(1) && is_hex(2)) {
            return Some(Fault::BrokenPercent(index));
        }
    }
    None
}

fn must_be_encoded_as_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

fn cut(name: &str) -> &str {
    let end = (0..=LockName::MAX_LEN)
        .rev()
        .find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests;
