//! Readers beside each other, writers alone.

use super::case::{Outcome, cases, ensure};
use super::stage::{LONG, Stage};

cases! {
    "shared" [Shared] readers_run_beside_each_other;
    "shared" [Shared] a_writer_waits_for_every_reader;
    "shared" [Shared] a_reader_waits_for_the_writer;
    "shared" [Shared] a_reader_releases_only_its_own;
    "shared" [Shared] each_reader_has_a_lease_of_its_own;
    "shared" [Shared Queue] a_writer_that_waits_is_not_passed_by_readers;
    "shared" [Shared] no_increment_of_a_writer_is_lost;
}

async fn readers_run_beside_each_other(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let mut readers = Vec::new();
    for manager in [&one, &two, &one, &two] {
        let reader = manager.lock("name").shared().try_acquire().await?;
        ensure!(reader.is_some(), "a reader kept another reader out");
        readers.extend(reader);
    }
    Ok(())
}

async fn a_writer_waits_for_every_reader(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let first = one.lock("name").shared().acquire().await?;
    let second = two.lock("name").shared().acquire().await?;
    for reader in [first, second] {
        ensure!(
            two.lock("name").try_acquire().await?.is_none(),
            "a writer entered beside a reader"
        );
        reader.release().await?;
    }
    stage.until_free(&two, "name").await
}

async fn a_reader_waits_for_the_writer(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let writer = one.lock("name").acquire().await?;
    ensure!(
        two.lock("name").shared().try_acquire().await?.is_none(),
        "a reader entered beside a writer"
    );
    let waiting = [
        tokio::spawn(two.lock("name").shared().acquire()),
        tokio::spawn(two.lock("name").shared().acquire()),
    ];
    stage.until_waiting(&one, "name", 2).await?;
    writer.release().await?;
    let mut readers = Vec::new();
    for reader in waiting {
        // The first one keeps it: both must be in at the same time.
        readers.push(
            stage
                .soon("a reader enters after the writer", reader)
                .await???,
        );
    }
    Ok(())
}

async fn a_reader_releases_only_its_own(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let first = one.lock("name").shared().acquire().await?;
    let _second = two.lock("name").shared().acquire().await?;
    first.release().await?;
    ensure!(
        one.lock("name").try_acquire().await?.is_none(),
        "one reader's release let a writer in beside another reader"
    );
    Ok(())
}

async fn each_reader_has_a_lease_of_its_own(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let short = one.lock("name").shared().ttl(stage.ttl()).renew(false);
    let _short = short.acquire().await?;
    let long = two.lock("name").shared().ttl(LONG).acquire().await?;
    stage.pass(2 * stage.ttl()).await;
    ensure!(
        one.lock("name").try_acquire().await?.is_none(),
        "the end of one reader's lease let a writer in beside another"
    );
    long.release().await?;
    stage.until_free(&one, "name").await
}

async fn a_writer_that_waits_is_not_passed_by_readers(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let reader = one.lock("name").shared().acquire().await?;
    let writer = tokio::spawn(two.lock("name").acquire());
    stage.until_waiting(&one, "name", 1).await?;
    ensure!(
        one.lock("name").shared().try_acquire().await?.is_none(),
        "a reader that came later passed a writer that waits"
    );
    let late = tokio::spawn(one.lock("name").shared().acquire());
    stage.until_waiting(&one, "name", 2).await?;
    reader.release().await?;
    let writer = stage.soon("the writer enters", writer).await???;
    ensure!(!late.is_finished(), "a reader entered beside a writer");
    writer.release().await?;
    stage
        .soon("the late reader enters", late)
        .await???
        .release()
        .await?;
    Ok(())
}

async fn no_increment_of_a_writer_is_lost(stage: Stage) -> Outcome {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    /// One who writes counts this much more than all who read.
    const WRITER: i64 = 1000;
    let managers = [stage.first(), stage.another().await?];
    let inside = Arc::new(AtomicI64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (manager, inside) = (managers[number % 2].clone(), Arc::clone(&inside));
        tasks.spawn(async move {
            for round in 0..5 {
                let writes = (number + round) % 4 == 0;
                let request = manager.lock("name");
                let (request, weight) = if writes {
                    (request, WRITER)
                } else {
                    (request.shared(), 1)
                };
                let before = request
                    .run(async || {
                        let before = inside.fetch_add(weight, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        inside.fetch_sub(weight, Ordering::SeqCst);
                        before
                    })
                    .await?;
                ensure!(before < WRITER, "somebody entered beside a writer");
                ensure!(!writes || before == 0, "a writer entered beside a reader");
            }
            Ok(())
        });
    }
    while let Some(task) = stage
        .soon("readers and writers are done", tasks.join_next())
        .await?
    {
        task??;
    }
    Ok(())
}
