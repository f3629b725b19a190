//! Whatever bytes come in, and however they are split: the same frames, and messages or errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lock_runtime::wire::{Encoding, ToClient, ToDaemon, next_frame};

const LIMIT: usize = 256;

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (is_compact, step, bytes) = input;
    let encoding = if is_compact {
        Encoding::Postcard
    } else {
        Encoding::Json
    };
    let at_once = frames(encoding, bytes, bytes.len().max(1));
    let in_pieces = frames(encoding, bytes, usize::from(step).max(1));
    assert_eq!(at_once, in_pieces);
    for frame in &at_once.0 {
        if let Ok(message) = encoding.read::<ToDaemon<'_>>(frame) {
            let mut again = Vec::new();
            encoding.write(&message, &mut again);
            let found = next_frame(&again, 0, encoding, usize::MAX)
                .unwrap()
                .unwrap();
            let read: ToDaemon<'_> = encoding.read(&again[found.message]).unwrap();
            assert_eq!(read, message);
        }
        let _ = encoding.read::<ToClient<'_>>(frame);
    }
});

/// The frames in some bytes that come in so many at a time, and whether it ended in an error.
fn frames(encoding: Encoding, bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut received, mut seen, mut found) = (Vec::new(), 0, Vec::new());
    for chunk in bytes.chunks(step) {
        received.extend_from_slice(chunk);
        loop {
            match next_frame(&received, seen, encoding, LIMIT) {
                Ok(Some(frame)) => {
                    found.push(received[frame.message].to_vec());
                    received.drain(..frame.end);
                    seen = 0;
                }
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
        seen = received.len();
    }
    (found, false)
}
