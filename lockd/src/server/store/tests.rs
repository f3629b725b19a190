use std::sync::mpsc;

use super::*;

fn snapshot(number: u64) -> Snapshot {
    Snapshot {
        number,
        text: number.to_string().into_bytes(),
    }
}

#[test]
fn only_the_newest_is_written_and_its_number_reported() {
    let (begun, begins) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let (store, mut numbers) = Store::start(move |text| {
        begun.send(text.to_vec()).expect("the test listens");
        goes_on.recv().expect("the test speaks");
        Ok(())
    })
    .expect("a thread");
    let saver = store.saver();
    saver.save(snapshot(1));
    assert_eq!(begins.recv().expect("it writes"), b"1");
    for number in 2..=4 {
        saver.save(snapshot(number));
    }
    go_on.send(()).expect("it waits");
    assert_eq!(begins.recv().expect("it writes"), b"4");
    go_on.send(()).expect("it waits");
    assert_eq!(numbers.blocking_recv(), Some(1));
    assert_eq!(numbers.blocking_recv(), Some(4));
    store.end();
    assert_eq!(numbers.blocking_recv(), None);
    store.join();
}

#[test]
fn a_write_that_fails_is_repeated_and_not_reported() {
    let mut attempts = 0;
    let (store, mut numbers) = Store::start(move |text| {
        attempts += 1;
        assert_eq!(text, b"7");
        match attempts {
            1 | 2 => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    })
    .expect("a thread");
    store.saver().save(snapshot(7));
    assert_eq!(numbers.blocking_recv(), Some(7));
    assert!(numbers.try_recv().is_err(), "once");
    store.join();
}

#[test]
fn a_newer_one_takes_the_place_of_one_that_cannot_be_written() {
    let (begun, begins) = mpsc::channel();
    let (store, mut numbers) = Store::start(move |text| {
        begun.send(text.to_vec()).expect("the test listens");
        if text == b"1" {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    })
    .expect("a thread");
    store.saver().save(snapshot(1));
    assert_eq!(begins.recv().expect("it writes"), b"1");
    store.saver().save(snapshot(2));
    assert_eq!(numbers.blocking_recv(), Some(2));
    store.join();
}

#[test]
fn it_ends_although_nothing_can_be_written() {
    let (begun, begins) = mpsc::channel();
    let (store, mut numbers) = Store::start(move |_| {
        begun.send(()).expect("the test listens");
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    })
    .expect("a thread");
    store.saver().save(snapshot(1));
    begins.recv().expect("it tries");
    store.end();
    assert_eq!(numbers.blocking_recv(), None, "nothing was saved");
    store.join();
}
