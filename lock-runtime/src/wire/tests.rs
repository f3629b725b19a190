//! Both encodings carry every message, and bad bytes are told apart.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::options::Mode;
use crate::owner::Owner;

fn acquire(name: &str, wait_ms: Option<u64>) -> ToDaemon<'_> {
    ToDaemon::Acquire(Acquire {
        id: 7,
        name: Cow::Borrowed(name),
        namespace: Cow::Borrowed("kanban"),
        owner: Owner::random(),
        mode: Mode::Permits(std::num::NonZeroU32::MIN),
        ttl_ms: 30_000,
        wait_ms,
        at_least_ms: 0,
        auth: Some(Auth {
            caller: Some(Cow::Borrowed("älice")),
            assigned: true,
        }),
        linger: false,
        site: None,
    })
}

#[test]
fn a_message_comes_back_from_either_encoding() {
    for encoding in [Encoding::Json, Encoding::Postcard] {
        for wait_ms in [None, Some(0), Some(5)] {
            let message = acquire("täsk:42", wait_ms);
            let mut bytes = Vec::new();
            encoding.write(&message, &mut bytes);
            let frame = next_frame(&bytes, 0, encoding, MAX_REQUEST)
                .unwrap()
                .unwrap();
            assert_eq!(frame.end, bytes.len());
            let read: ToDaemon<'_> = encoding.read(&bytes[frame.message]).unwrap();
            assert_eq!(read, message, "{encoding:?}");
        }
    }
}

#[test]
fn what_is_left_out_of_json_has_its_default() {
    let owner = "0123456789abcdef0123456789abcdef0123456789abcdef";
    let line =
        format!(r#"{{"acquire":{{"id":1,"name":"task:42","owner":"{owner}","ttl_ms":1000}}}}"#);
    let read: ToDaemon<'_> = Encoding::Json.read(line.as_bytes()).unwrap();
    let ToDaemon::Acquire(acquire) = read else {
        panic!("{read:?}");
    };
    assert_eq!(acquire.wait_ms, Some(0), "who says nothing does not queue");
    assert_eq!(acquire.mode, Mode::Exclusive);
    assert_eq!(acquire.auth, None);
}

#[test]
fn a_misspelled_field_is_named() {
    let line = br#"{"ping":{"id":1,"idd":2}}"#;
    let error = Encoding::Json.read::<ToDaemon<'_>>(line).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`idd`") && text.contains("column"), "{text}");
}

#[test]
fn an_excerpt_cannot_write_to_a_terminal() {
    let error = Encoding::Json
        .read::<ToDaemon<'_>>(b"\x1b[31m\xff\r")
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\\u{1b}[31m\\xff\\r"), "{text}");
}

#[test]
fn a_line_may_be_so_long_and_no_longer() {
    let mut line = vec![b' '; 9];
    line.push(b'\n');
    assert!(next_frame(&line, 0, Encoding::Json, 10).unwrap().is_some());
    assert!(next_frame(&line, 0, Encoding::Json, 9).is_err());
    assert!(
        next_frame(&line[..9], 0, Encoding::Json, 9).is_err(),
        "endless"
    );
    assert!(
        next_frame(&line[..8], 0, Encoding::Json, 9)
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_compact_frame_that_is_too_long_is_refused_by_its_length() {
    let announced = 100_u32.to_le_bytes();
    assert!(next_frame(&announced, 0, Encoding::Postcard, 103).is_err());
    let there = next_frame(&announced, 0, Encoding::Postcard, 104).unwrap();
    assert!(there.is_none());
}

proptest! {
    /// However the bytes come in, the same frames are found.
    #[test]
    fn frames_are_found_however_they_are_split(
        names in prop::collection::vec("[a-zäöü€]{1,20}", 1..5),
        cuts in prop::collection::vec(1_usize..40, 1..40),
    ) {
        for encoding in [Encoding::Json, Encoding::Postcard] {
            let mut bytes = Vec::new();
            for name in &names {
                encoding.write(&acquire(name, None), &mut bytes);
            }
            let (mut received, mut seen, mut found) = (Vec::new(), 0, Vec::new());
            let mut rest = &bytes[..];
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                rest = after;
                received.extend_from_slice(chunk);
                while let Some(frame) = next_frame(&received, seen, encoding, MAX_REQUEST).unwrap() {
                    let read: ToDaemon<'_> = encoding.read(&received[frame.message]).unwrap();
                    let ToDaemon::Acquire(acquire) = read else { panic!() };
                    found.push(acquire.name.into_owned());
                    received.drain(..frame.end);
                    seen = 0;
                }
                seen = received.len();
            }
            prop_assert_eq!(&found, &names);
        }
    }

    /// Whatever comes, it is a message or an error.
    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for encoding in [Encoding::Json, Encoding::Postcard] {
            let _ = next_frame(&bytes, 0, encoding, 100);
            let _ = encoding.read::<ToDaemon<'_>>(&bytes);
            let _ = encoding.read::<ToClient<'_>>(&bytes);
        }
    }
}
