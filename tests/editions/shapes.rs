//! What differs between editions: temporaries, captures, keywords. Compiled in each of them.

#![deny(warnings)]

use std::cell::RefCell;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;

use async_trait::async_trait;
use lock_runtime::{auth, lock_name, locked, Held, LockError, LockManager};

type R<T = ()> = Result<T, LockError>;

fn name_of(held: &Held) -> String {
    held.name().map_or_else(String::new, ToString::to_string)
}

struct Board {
    id: u64,
    rows: Mutex<Vec<u8>>,
}

impl Board {
    #[locked("board:{self.id}:{n:02}", wait = "5s", guard = held)]
    async fn method(&mut self, n: u8) -> R<String> {
        self.id += 1;
        Ok(name_of(held))
    }

    #[locked("board:<self.id>")]
    fn lends(&mut self) -> R<&mut u64> {
        if self.id == 0 {
            return Ok(&mut self.id);
        }
        Ok(&mut self.id)
    }

    // The lock of the rows is a temporary of the last expression.
    #[locked("rows:{rows}", rows = self.rows.lock().unwrap().len())]
    async fn temporaries(&self) -> R<Option<u8>> {
        R::Ok(self.rows.lock().unwrap().first().copied())
    }

    #[locked("rows:{rows}", rows = self.rows.lock().unwrap().len())]
    fn temporaries_sync(&self) -> R<Option<u8>> {
        R::Ok(self.rows.lock().unwrap().first().copied())
    }

    #[locked("board")]
    fn opaque<'a>(&'a self, text: &'a str) -> R<impl Iterator<Item = char> + 'a> {
        let _ = self.id;
        Ok(text.chars())
    }
}

#[locked("mut:{text}")]
async fn rebound(mut text: &str, mut more: Vec<u8>) -> R<usize> {
    let local = String::from("abc");
    text = if more.is_empty() { text } else { &local };
    more.push(1);
    Ok(text.len() + more.len())
}

#[locked("mut")]
fn mutable(mut more: Vec<u8>) -> R<Vec<u8>> {
    more.push(1);
    Ok(more)
}

#[locked("dyn")]
fn coerced(number: bool) -> R<Box<dyn Debug>> {
    if number {
        return Ok(Box::new(1));
    }
    Ok(Box::new("text"))
}

// The declaration itself is what the workspace denies.
#[allow(unsafe_code)]
#[locked("unsafe:{text}")]
unsafe fn is_unsafe(text: &str) -> R<usize> {
    Ok(text.len())
}

#[allow(clippy::manual_async_fn)]
#[locked]
fn returns_future() -> impl Future<Output = R<u8>> {
    async { Ok(1) }
}

#[locked("boxed:{n}")]
fn returns_boxed<'a>(n: &'a u8) -> Pin<Box<dyn Future<Output = R<u8>> + Send + 'a>> {
    Box::pin(async move { Ok(*n) })
}

#[locked("dropped")]
fn order_of_drops(log: &Log) -> R<usize> {
    R::Ok(Noisy(log, "temporary").0.borrow().len())
}

type Log = RefCell<Vec<&'static str>>;

struct Noisy<'a>(&'a Log, &'static str);

impl Drop for Noisy<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[async_trait]
trait Boxed {
    async fn play(&mut self, pair: (u8, &str)) -> R<u64>;
}

#[auth(optional)]
#[async_trait]
impl Boxed for Board {
    #[locked("play:{self.id}:{a}:<b>")]
    async fn play(&mut self, (a, b): (u8, &str)) -> R<u64> {
        self.id += u64::from(a);
        if b.is_empty() {
            return Ok(0);
        }
        Ok(self.id)
    }
}

#[locked("answer", on_error = |_| 7)]
async fn answers(cells: Rc<u8>) -> u8 {
    *cells
}

#[tokio::test]
async fn every_shape() {
    let manager = LockManager::memory();
    manager.scope(shapes()).await;
    assert!(manager.list("").await.unwrap().is_empty());
}

async fn shapes() {
    let mut board = Board {
        id: 1,
        rows: Mutex::new(vec![9]),
    };
    assert_eq!(board.method(2).await.unwrap(), "board:1:02");
    *board.lends().unwrap() += 1;
    assert_eq!(board.temporaries().await.unwrap(), Some(9));
    assert_eq!(board.temporaries_sync().unwrap(), Some(9));
    assert_eq!(board.opaque("ab").unwrap().count(), 2);
    assert_eq!(rebound("a", vec![1]).await.unwrap(), 5);
    assert_eq!(mutable(vec![]).unwrap(), [1]);
    assert_eq!(format!("{:?}", coerced(false).unwrap()), "\"text\"");
    assert_eq!(returns_future().await.unwrap(), 1);
    assert_eq!(returns_boxed(&2).await.unwrap(), 2);
    assert_eq!(board.play((1, "x")).await.unwrap(), 4);
    assert_eq!(answers(Rc::new(3)).await, 3);
    let log = Log::default();
    assert_eq!(order_of_drops(&log).unwrap(), 0);
    assert_eq!(*log.borrow(), ["temporary"]);
    let _: unsafe fn(&str) -> R<usize> = is_unsafe;
    assert_eq!(lock_name!("a:{n}", n = 1).unwrap().as_str(), "a:1");
}
