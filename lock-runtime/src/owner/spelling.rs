//! How owners are written down: as digits for people and other languages, as bytes elsewhere.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Owner, OwnerId};

impl OwnerId {
    /// The number that these 16 hexadecimal digits are.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn read(text: &str) -> Option<Self> {
        words(text).map(|[id]| Self(id))
    }
}

impl Owner {
    /// Number and secret in 48 hexadecimal digits, as stores compare them; the number first.
    pub(crate) fn spelled(self) -> String {
        let [high, low] = self.secret;
        format!("{}{high:016x}{low:016x}", self.id)
    }
}

impl Serialize for OwnerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.to_be_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for OwnerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = Cow::<'de, str>::deserialize(deserializer)?;
            let [id] = words(&text).ok_or_else(|| wrong(&text, "16 hexadecimal digits"))?;
            Ok(Self(id))
        } else {
            <[u8; 8]>::deserialize(deserializer).map(|bytes| Self(u64::from_be_bytes(bytes)))
        }
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.spelled())
        } else {
            let [high, low] = self.secret;
            let words = [self.id.0, high, low].map(u64::to_be_bytes);
            words.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [id, high, low] = if deserializer.is_human_readable() {
            let text = Cow::<'de, str>::deserialize(deserializer)?;
            // What is nearly an owner's secret is not repeated.
            words(&text).ok_or_else(|| de::Error::custom("an owner is 48 hexadecimal digits"))?
        } else {
            <[[u8; 8]; 3]>::deserialize(deserializer)?.map(u64::from_be_bytes)
        };
        Ok(Self {
            id: OwnerId(id),
            secret: [high, low],
        })
    }
}

/// So many numbers of 16 hexadecimal digits each, without anything between them.
fn words<const N: usize>(text: &str) -> Option<[u64; N]> {
    let is_hex = text.len() == 16 * N && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        let digits = text.get(16 * index..16 * (index + 1)).filter(|_| is_hex)?;
        *word = u64::from_str_radix(digits, 16).ok()?;
    }
    Some(words)
}

fn wrong<E: de::Error>(text: &str, expected: &str) -> E {
    E::invalid_value(de::Unexpected::Str(text), &expected)
}
