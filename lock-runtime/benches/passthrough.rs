//! What an annotation costs when no lock manager is set.

mod support;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use lock_runtime::{LockError, locked};

#[inline(never)]
async fn plain(id: u64) -> Result<u64, LockError> {
    Ok(id.wrapping_mul(3))
}

#[inline(never)]
#[locked("task:{id}")]
async fn annotated(id: u64) -> Result<u64, LockError> {
    Ok(id.wrapping_mul(3))
}

#[inline(never)]
fn plain_sync(id: u64) -> Result<u64, LockError> {
    Ok(id.wrapping_mul(3))
}

#[inline(never)]
#[locked("task:{id}")]
fn annotated_sync(id: u64) -> Result<u64, LockError> {
    Ok(id.wrapping_mul(3))
}

/// Polls a future that is ready at once, and takes its value without keeping the result.
#[inline(always)]
fn value(future: impl Future<Output = Result<u64, LockError>>) -> u64 {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(Ok(value)) => value,
        _ => 0,
    }
}

fn passthrough(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("passthrough_async");
    group.bench_function("plain", |b| b.iter(|| value(plain(black_box(7)))));
    group.bench_function("annotated", |b| b.iter(|| value(annotated(black_box(7)))));
    group.finish();
    support::print_ratios("passthrough_async", &["plain", "annotated"]);

    let mut group = criterion.benchmark_group("passthrough_sync");
    group.bench_function("plain", |b| {
        b.iter(|| plain_sync(black_box(7)).unwrap_or(0))
    });
    group.bench_function("annotated", |b| {
        b.iter(|| annotated_sync(black_box(7)).unwrap_or(0))
    });
    group.finish();
    support::print_ratios("passthrough_sync", &["plain", "annotated"]);
}

criterion_group!(benches, passthrough);
criterion_main!(benches);
