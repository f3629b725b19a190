//! Patterns, generics and everything else between the parentheses.

use std::borrow::Cow;
use std::fmt::{Debug, Display};

use lock_runtime::locked;

use crate::{R, name_of, on_memory};

struct Params {
    task_id: u64,
    column: String,
}

struct Pair(u8, u8);

#[locked("task:{task_id}:{to}", guard = held)]
async fn fields(
    Params {
        task_id,
        column: to,
    }: Params,
) -> R<String> {
    drop(to);
    Ok(name_of(held))
}

#[locked("{a}:{b}:{c}:{whole}:{first}", guard = held)]
async fn nested_patterns(
    (a, Pair(b, ..)): (u8, Pair),
    &c: &u8,
    whole @ (1 | 2 | _): u8,
    [first, ..]: [u8; 3],
    _: u8,
) -> R<String> {
    Ok(name_of(held))
}

#[locked("{a}:{b}", guard = held)]
fn nested_patterns_sync((a, Pair(_, b)): (u8, Pair), _unused: u8) -> R<String> {
    Ok(name_of(held))
}

#[locked("{order.id}:{order.lines[0].1}:{names[index]}:{order.key(index)}", guard = held)]
async fn fields_methods_and_indices(order: &Order, names: &[&str], index: usize) -> R<String> {
    Ok(name_of(held))
}

struct Order {
    id: u64,
    lines: Vec<(u8, String)>,
}

impl Order {
    fn key(&self, index: usize) -> impl Display + use<> {
        self.lines.len() + index
    }
}

#[locked("{type}:{r#fn}", guard = held)]
async fn raw_names(r#type: u8, r#fn: &str) -> R<String> {
    Ok(name_of(held))
}

#[locked("{text}:{bytes:?}", guard = held)]
async fn owned(text: String, bytes: Vec<u8>) -> R<(String, String, Vec<u8>)> {
    Ok((name_of(held), text, bytes))
}

#[tokio::test]
async fn every_pattern() {
    on_memory(async |_| {
        let params = Params {
            task_id: 7,
            column: "done".to_owned(),
        };
        assert_eq!(fields(params).await.unwrap(), "task:7:done");
        let name = nested_patterns((1, Pair(2, 0)), &3, 4, [5, 6, 7], 8).await;
        assert_eq!(name.unwrap(), "1:2:3:4:5");
        let name = nested_patterns_sync((1, Pair(0, 2)), 8);
        assert_eq!(name.unwrap(), "1:2");
        let order = Order {
            id: 3,
            lines: vec![(0, "pen".to_owned())],
        };
        let name = fields_methods_and_indices(&order, &["a", "b"], 1).await;
        assert_eq!(name.unwrap(), "3:pen:b:2");
        assert_eq!(raw_names(1, "x").await.unwrap(), "1:x");
        let (name, text, bytes) = owned("a".to_owned(), vec![1]).await.unwrap();
        assert_eq!((&*name, &*text, &*bytes), ("a:[1]", "a", &[1][..]));
    })
    .await;
}

#[locked("{key}:{N}:{LIMIT}", guard = held)]
async fn generic<'a, T, U: ?Sized + Sync + Debug, F, const N: usize>(
    key: &'a T,
    _rest: &U,
    callback: F,
    _bytes: [u8; N],
) -> R<(Cow<'a, str>, String)>
where
    T: Display + AsRef<str> + Sync,
    F: for<'x> Fn(&'x str) -> &'x str + Send,
{
    Ok((
        Cow::Borrowed(key.as_ref()),
        callback(&name_of(held)).to_owned(),
    ))
}

const LIMIT: u8 = 9;

#[locked("{shown}", guard = held)]
fn impl_arguments(shown: &impl Display, with: impl FnOnce(String) -> usize) -> R<usize> {
    Ok(with(name_of(held)))
}

#[tokio::test]
async fn generics() {
    on_memory(async |_| {
        let key = "k".to_owned();
        let (borrowed, name) = generic(&key, "x", |text| text, [0; 4]).await.unwrap();
        assert_eq!((&*borrowed, &*name), ("k", "k:4:9"));
        assert_eq!(impl_arguments(&12, |name| name.len()).unwrap(), 2);
    })
    .await;
}

#[locked("{number}", guard = held)]
async fn mutable(mut number: u8, mut list: Vec<u8>) -> R<(String, Vec<u8>)> {
    number += 1;
    list.push(number);
    Ok((name_of(held), list))
}

#[locked("{number}", guard = held)]
fn mutable_sync(mut number: u8, mut list: Vec<u8>) -> R<(String, Vec<u8>)> {
    number += 1;
    list.push(number);
    Ok((name_of(held), list))
}

#[locked("{text}")]
async fn rebound(mut text: &str, mut list: &[u8]) -> R<usize> {
    let longer = format!("{text}{text}");
    text = &longer;
    let local = [list.len()];
    std::future::ready(()).await;
    list = &[];
    Ok(text.len() + list.len() + local[0])
}

#[tokio::test]
async fn mutable_parameters() {
    on_memory(async |_| {
        let (name, list) = mutable(1, vec![]).await.unwrap();
        assert_eq!((&*name, &*list), ("1", &[2][..]));
        let (name, list) = mutable_sync(1, vec![]).unwrap();
        assert_eq!((&*name, &*list), ("1", &[2][..]));
        assert_eq!(rebound("ab", &[1]).await.unwrap(), 5);
    })
    .await;
}

#[locked("{id}", guard = held)]
async fn configured(
    id: u8,
    #[cfg(any())] missing: NoSuchType,
    #[cfg(not(any()))] present: u8,
) -> R<String> {
    Ok(format!("{} {present}", name_of(held)))
}

#[tokio::test]
async fn configured_parameters() {
    on_memory(async |_| assert_eq!(configured(1, 2).await.unwrap(), "1 2")).await;
}
