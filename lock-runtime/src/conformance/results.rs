//! S8: the body's result stands.

use super::case::{Failure, Outcome, cases, ensure};
use super::stage::Stage;

cases! {
    "S8" [] a_body_returns_what_it_returns;
    "S8" [] a_release_that_fails_does_not_replace_the_result;
    "S8" [Remote] a_release_that_is_not_answered_does_not_replace_the_result;
    "S8" [] a_panic_goes_on_and_releases;
    "S8" [Remote] only_a_lost_section_turns_a_result_into_an_error;
}

async fn a_body_returns_what_it_returns(stage: Stage) -> Outcome {
    let manager = stage.first();
    let value = manager.lock("name").run(async || "value").await?;
    ensure!(value == "value", "the body's value became {value}");
    let error: Result<(), &str> = manager.lock("name").run(async || Err("own error")).await?;
    ensure!(
        error == Err("own error"),
        "the body's own error became {error:?}"
    );
    Ok(())
}

async fn a_release_that_fails_does_not_replace_the_result(stage: Stage) -> Outcome {
    let (manager, wire) = stage.wired().await?;
    let request = manager.lock("name").ttl(stage.ttl()).renew(false);
    let value = request
        .run(async || {
            wire.refuse();
            42
        })
        .await?;
    ensure!(value == 42, "the body's value became {value}");
    wire.mend();
    stage.pass(stage.ttl()).await;
    stage.until_free(&stage.first(), "name").await
}

async fn a_release_that_is_not_answered_does_not_replace_the_result(stage: Stage) -> Outcome {
    let wire = super::Wire::default();
    let other_end = wire.clone();
    let manager = stage
        .manager(|builder| builder.wire(other_end).release_timeout(stage.ttl()))
        .await?;
    let request = manager.lock("name").ttl(stage.ttl());
    let running = request.run(async || {
        wire.silence();
        42
    });
    let value = stage
        .soon("a call whose release is not answered ends", running)
        .await??;
    ensure!(value == 42, "the body's value became {value}");
    stage.until_free(&stage.first(), "name").await
}

async fn a_panic_goes_on_and_releases(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let running = tokio::spawn(manager.lock("name").run(async || {
        // Without the hook, which would print it.
        std::panic::resume_unwind(Box::new("a panic of the body"));
    }));
    let Err(error) = stage.soon("the panic comes out", running).await? else {
        return Err(Failure::new("a panic of the body was swallowed"));
    };
    ensure!(
        error.is_panic()
            && error.into_panic().downcast_ref::<&str>() == Some(&"a panic of the body"),
        "another panic came out than the body's own"
    );
    stage.until_free(&other, "name").await
}

async fn only_a_lost_section_turns_a_result_into_an_error(stage: Stage) -> Outcome {
    let (manager, wire) = stage.wired().await?;
    // The wire is mended before the lease has ended: nothing is lost.
    let request = manager.lock("name").ttl(4 * stage.ttl());
    let value = request
        .run(async || {
            wire.refuse();
            stage.pass(stage.ttl()).await;
            wire.mend();
            42
        })
        .await?;
    ensure!(value == 42, "the body's value became {value}");
    Ok(())
}
