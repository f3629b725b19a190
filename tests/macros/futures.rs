//! The futures of annotated functions: what they can be sent to, how deep and how large.

use std::cell::Cell;
use std::mem::size_of_val;
use std::sync::mpsc::Receiver;

use lock_runtime::locked;

use crate::{R, on_memory};

fn is_send<T: Send>(future: T) -> T {
    future
}

#[locked("{n}:{kind}", kind = rows.0.borrow().len(), wait = patience(&rows.1))]
async fn with_arguments_that_are_not_sync(n: u8, cell: Cell<u8>, rows: Rows) -> R<u8> {
    std::future::ready(()).await;
    Ok(cell.get() + n)
}

struct Rows(std::cell::RefCell<Vec<u8>>, Cell<u8>);

fn patience(seconds: &Cell<u8>) -> std::time::Duration {
    std::time::Duration::from_secs(u64::from(seconds.get()))
}

#[locked("{list}", list = lock.lock().unwrap().len())]
async fn with_a_guard_in_the_name(lock: &std::sync::Mutex<Vec<u8>>) -> R<bool> {
    Ok(lock.try_lock().is_ok())
}

#[locked("queue")]
async fn with_a_receiver(receiver: Receiver<u8>) -> R<Option<u8>> {
    Ok(receiver.try_recv().ok())
}

#[tokio::test]
async fn are_send() {
    on_memory(async |_| {
        let rows = Rows(vec![1].into(), Cell::new(1));
        let call = is_send(with_arguments_that_are_not_sync(1, Cell::new(2), rows));
        assert_eq!(call.await.unwrap(), 3);
        let lock = std::sync::Mutex::new(vec![1]);
        assert!(is_send(with_a_guard_in_the_name(&lock)).await.unwrap());
        let (_, receiver) = std::sync::mpsc::channel();
        assert_eq!(is_send(with_a_receiver(receiver)).await.unwrap(), None);
    })
    .await;
}

macro_rules! chain {
    ($($name:ident calls $next:ident;)*) => {
        $(#[locked("{level}")]
        async fn $name(level: &str) -> R<usize> {
            $next(level).await
        })*
    };
}

chain! {
    f1 calls f2;
    f2 calls f3;
    f3 calls f4;
    f4 calls f5;
    f5 calls f6;
    f6 calls f7;
    f7 calls f8;
    f8 calls f9;
    f9 calls f10;
    f10 calls f11;
    f11 calls f12;
    f12 calls f13;
    f13 calls f14;
    f14 calls f15;
}

#[locked("{level}")]
async fn f15(level: &str) -> R<usize> {
    Ok(level.len())
}

/// The default recursion limit is the limit of what a service can nest.
#[test]
fn are_send_fifteen_calls_deep() {
    drop(is_send(f1("a")));
}

async fn plain(task: u64, bytes: [u8; 256]) -> R<usize> {
    let buffer = [task; 128];
    std::future::ready(()).await;
    Ok(buffer.len() + bytes.len())
}

#[locked("{task}")]
async fn annotated(task: u64, bytes: [u8; 256]) -> R<usize> {
    let buffer = [task; 128];
    std::future::ready(()).await;
    Ok(buffer.len() + bytes.len())
}

#[test]
fn are_hardly_larger_than_plain_ones() {
    let arguments = size_of::<u64>() + size_of::<[u8; 256]>();
    let plain = size_of_val(&plain(1, [0; 256]));
    let annotated = size_of_val(&annotated(1, [0; 256]));
    let most = plain + arguments + 128;
    assert!(
        annotated <= most,
        "{annotated} bytes instead of {plain}, at most {most}"
    );
}
