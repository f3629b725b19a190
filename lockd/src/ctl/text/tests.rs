use super::*;

#[test]
fn what_cannot_be_seen_is_escaped() {
    let shown = |text: &str| Clean(text).to_string();
    assert_eq!(shown("größe \"x\" it's 東"), "größe \"x\" it's 東");
    assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    assert_eq!(shown("\u{202e}evil"), "\\u{202e}evil");
    assert_eq!(shown("a\nb\u{200b}"), "a\\nb\\u{200b}");
    assert!(is_visible('東') && is_visible('\'') && !is_visible('\u{2066}'));
}

#[test]
fn durations_are_read() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("0"), Ok(Duration::ZERO));
    assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
    assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
    assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
    for bad in ["", "s", "5", "-1s", "1.5s", "99999999999999999999s"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
    assert!(
        duration("18446744073709551615h").is_err(),
        "too much to count"
    );
    assert_eq!(wait("forever"), Ok(Wait::Forever));
    assert!(wait("ever").unwrap_err().contains("forever"));
    let too_long = wait("48h").unwrap_err();
    assert!(
        too_long.contains("24h") && too_long.contains("`forever`"),
        "{too_long}"
    );
}

#[test]
fn durations_are_shown() {
    let shown = |milliseconds| Shown(Duration::from_millis(milliseconds)).to_string();
    assert_eq!(shown(450), "450 ms");
    assert_eq!(shown(3_250), "3.2 s");
    assert_eq!(shown(303_000), "5 min 3 s");
    assert_eq!(shown(7_800_000), "2 h 10 min");
    assert_eq!(shown(90_000_000), "1 d 1 h");
}

#[test]
fn passwords_are_not_shown() {
    assert_eq!(
        redacted("redis://me:secret@host:1/2?x=secret"),
        "redis://host:1/2"
    );
    assert_eq!(redacted("redis://host?password=secret"), "redis://host");
    assert_eq!(redacted("redis://a:se@cret@host"), "redis://host");
    assert_eq!(
        redacted("unix:/run/lockd/lockd.sock"),
        "unix:/run/lockd/lockd.sock"
    );
    assert_eq!(redacted("memory:"), "memory:");
}
