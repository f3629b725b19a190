//! Return types.

use std::convert::Infallible;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::io;
use std::pin::Pin;

use lock_runtime::{LockError, locked};

use crate::{R, name_of, on_memory};

type Anyhow<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug)]
struct OwnError;

impl From<LockError> for OwnError {
    fn from(_: LockError) -> Self {
        Self
    }
}

trait HasOutput {
    type Output;
}

impl HasOutput for u8 {
    type Output = Result<Self, OwnError>;
}

#[locked("own")]
async fn own_error() -> Result<u8, OwnError> {
    Ok(1)
}

#[locked("io")]
fn io_result() -> io::Result<u8> {
    Ok(2)
}

#[locked("boxed")]
async fn boxed_error(fails: bool) -> Anyhow<u8> {
    if fails {
        Err("no")?;
    }
    Ok(3)
}

#[locked("projection")]
async fn projection() -> <u8 as HasOutput>::Output {
    Ok(4)
}

#[locked("generic")]
async fn generic_error<E: From<LockError>>() -> Result<u8, E> {
    Ok(5)
}

#[locked("never")]
fn never_fine() -> Result<Infallible, OwnError> {
    Err(OwnError)
}

#[tokio::test]
async fn results_by_any_name() {
    on_memory(async |_| {
        assert_eq!(own_error().await.unwrap(), 1);
        assert_eq!(io_result().unwrap(), 2);
        assert_eq!(boxed_error(false).await.unwrap(), 3);
        assert_eq!(boxed_error(true).await.unwrap_err().to_string(), "no");
        assert_eq!(projection().await.unwrap(), 4);
        assert_eq!(generic_error::<LockError>().await.unwrap(), 5);
        never_fine().unwrap_err();
    })
    .await;
}

#[locked("opaque")]
async fn opaque(short: bool) -> R<impl Iterator<Item = u8>> {
    if short {
        return Ok(vec![1].into_iter());
    }
    Ok(vec![1, 2].into_iter())
}

#[locked("opaque")]
fn opaque_sync(short: bool) -> R<impl Iterator<Item = u8> + Debug> {
    if short {
        return Ok(vec![1].into_iter());
    }
    Ok(vec![1, 2].into_iter())
}

#[locked("opaque")]
async fn opaque_deep(n: u8) -> R<(Option<impl Display>, Box<impl Fn(u8) -> u8>)> {
    Ok((Some(n), Box::new(move |m| n + m)))
}

#[locked("opaque", on_error = |_| Vec::new().into_iter())]
fn opaque_alone() -> impl Iterator<Item = u8> {
    vec![1].into_iter()
}

#[locked("dyn")]
async fn coerced(number: bool) -> R<Box<dyn Debug>> {
    if number {
        return Ok(Box::new(1));
    }
    Ok(Box::new("text"))
}

#[locked("dyn")]
fn coerced_sync(number: bool) -> R<Box<dyn Debug>> {
    if number {
        return Ok(Box::new(1));
    }
    Ok(Box::new("text"))
}

#[tokio::test]
async fn opaque_and_dynamic_types() {
    on_memory(async |_| {
        assert_eq!(opaque(true).await.unwrap().count(), 1);
        assert_eq!(opaque_sync(false).unwrap().count(), 2);
        let (shown, add) = opaque_deep(1).await.unwrap();
        assert_eq!((shown.unwrap().to_string(), add(2)), ("1".to_owned(), 3));
        assert_eq!(opaque_alone().count(), 1);
        assert_eq!(format!("{:?}", coerced(true).await.unwrap()), "1");
        assert_eq!(format!("{:?}", coerced_sync(false).unwrap()), "\"text\"");
    })
    .await;
}

struct Rows(Vec<u8>);

impl Rows {
    #[locked("rows")]
    async fn elided(&self, _other: &str) -> R<std::slice::Iter<'_, u8>> {
        Ok(self.0.iter())
    }

    #[locked("rows")]
    fn named<'a>(&'a mut self, other: &'a mut Vec<u8>) -> R<(&'a mut u8, &'a mut Vec<u8>)> {
        Ok((&mut self.0[0], other))
    }

    #[locked("rows")]
    async fn itself(&self) -> R<&Self> {
        Ok(self)
    }
}

#[tokio::test]
async fn borrowed_returns() {
    on_memory(async |_| {
        let mut rows = Rows(vec![1, 2]);
        assert_eq!(rows.elided("x").await.unwrap().len(), 2);
        assert_eq!(rows.itself().await.unwrap().0.len(), 2);
        let mut other = vec![];
        let (first, other) = rows.named(&mut other).unwrap();
        other.push(*first);
        assert_eq!(*other, [1]);
    })
    .await;
}

#[allow(clippy::manual_async_fn)]
#[locked("future:{n}", guard = held)]
fn returns_future(n: u8) -> impl Future<Output = R<String>> + Send {
    async move { Ok(name_of(held)) }
}

#[allow(clippy::manual_async_fn)]
#[locked("future:{n}", guard = held)]
fn returns_future_without_move(n: u8) -> impl Future<Output = R<String>> {
    async { Ok(name_of(held)) }
}

#[locked("future:{n}", guard = held)]
fn returns_boxed_future<'a>(n: &'a str) -> Pin<Box<dyn Future<Output = R<String>> + Send + 'a>> {
    Box::pin(async move {
        if n.is_empty() {
            return Ok(String::new());
        }
        Ok(name_of(held))
    })
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[locked("future:{n}", guard = held)]
fn returns_alias<'a>(n: u8) -> BoxFuture<'a, R<String>> {
    std::boxed::Box::pin(async move { Ok(name_of(held)) })
}

#[tokio::test]
async fn functions_that_return_futures() {
    on_memory(async |_| {
        assert_eq!(returns_future(1).await.unwrap(), "future:1");
        assert_eq!(returns_future_without_move(2).await.unwrap(), "future:2");
        assert_eq!(returns_boxed_future("3").await.unwrap(), "future:3");
        assert_eq!(returns_boxed_future("").await.unwrap(), "");
        assert_eq!(returns_alias(4).await.unwrap(), "future:4");
    })
    .await;
}
