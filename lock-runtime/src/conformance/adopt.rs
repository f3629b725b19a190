//! A section that goes on in another process.

use super::case::{Failure, Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage};

cases! {
    "adopt" [Adopt] a_section_goes_on_in_another_manager;
    "adopt" [Adopt Fencing] an_adopted_section_keeps_its_token;
    "adopt" [Adopt] a_name_is_busy_while_it_is_handed_over;
    "adopt" [Adopt] a_ticket_works_once;
    "adopt" [Adopt] a_ticket_is_worth_nothing_after_its_lease;
    "adopt" [Adopt] a_stranger_adopts_nothing;
    "adopt" [Adopt] an_adopted_section_is_renewed;
}

async fn a_section_goes_on_in_another_manager(stage: Stage) -> Outcome {
    let (giver, taker) = (stage.first(), stage.another().await?);
    let guard = giver.lock("name").acquire().await?;
    let watch = guard.watch();
    let ticket = guard.into_ticket()?;
    ensure!(!watch.is_held(), "who gave a lock away still holds it");
    let adopted = taker.lock("name").adopt(ticket).await?;
    ensure!(adopted.is_held(), "an adopted lock is not held");
    ensure!(
        giver.lock("name").try_acquire().await?.is_none(),
        "an adopted lock is free"
    );
    adopted.release().await?;
    stage.until_free(&giver, "name").await
}

async fn an_adopted_section_keeps_its_token(stage: Stage) -> Outcome {
    let (giver, taker) = (stage.first(), stage.another().await?);
    let guard = giver.lock("name").acquire().await?;
    let token = guard.fencing_token();
    let ticket = guard.into_ticket()?;
    ensure!(
        ticket.fencing_token() == token && token.is_some(),
        "the ticket has another token"
    );
    let adopted = taker.lock("name").adopt(ticket).await?;
    ensure!(
        adopted.fencing_token() == token,
        "the token {token:?} became {:?} by adoption",
        adopted.fencing_token()
    );
    Ok(())
}

async fn a_name_is_busy_while_it_is_handed_over(stage: Stage) -> Outcome {
    let (giver, taker) = (stage.first(), stage.another().await?);
    let ticket = giver.lock("name").acquire().await?.into_ticket()?;
    for manager in [&giver, &taker] {
        ensure!(
            manager.lock("name").try_acquire().await?.is_none(),
            "a lock is free while it is handed over"
        );
    }
    let adopted = taker.lock("name").adopt(ticket).await?;
    adopted.release().await?;
    Ok(())
}

async fn a_ticket_works_once(stage: Stage) -> Outcome {
    let (giver, taker) = (stage.first(), stage.another().await?);
    let ticket = giver.lock("name").acquire().await?.into_ticket()?;
    let adopted = taker.lock("name").adopt(ticket.clone()).await?;
    let again = giver.lock("name").adopt(ticket.clone()).await;
    ensure!(again.is_err(), "a ticket was good for two");
    ensure!(
        adopted.is_held(),
        "a ticket that was used took the lock back"
    );
    let wrong = giver.lock("other").adopt(ticket).await;
    ensure!(wrong.is_err(), "a ticket was good for another name");
    adopted.release().await?;
    Ok(())
}

async fn a_ticket_is_worth_nothing_after_its_lease(stage: Stage) -> Outcome {
    let (giver, taker) = (stage.first(), stage.another().await?);
    let guard = giver.lock("name").ttl(stage.ttl()).acquire().await?;
    let ticket = guard.into_ticket()?;
    stage.pass(2 * stage.ttl()).await;
    stage.until_free(&taker, "name").await?;
    let Err(error) = taker.lock("name").adopt(ticket).await else {
        return Err(Failure::new("a lock was adopted after its lease had ended"));
    };
    ensure!(error.is_lost(), "a late ticket gave {error}");
    stage.until_free(&giver, "name").await
}

async fn a_stranger_adopts_nothing(stage: Stage) -> Outcome {
    let manager = stage.first();
    let held = Raw::new(&manager, "name", LONG)?;
    held.try_acquire().await?;
    for stranger in [held.stranger(), held.impostor()] {
        let thief = held.stranger();
        ensure!(
            !thief.adopt_from(stranger.owner()).await?,
            "somebody adopted on the word of one who does not own the lock"
        );
    }
    ensure!(
        held.renew(LONG).await?,
        "the owner lost the lock to a thief"
    );
    let heir = held.stranger();
    ensure!(
        heir.adopt_from(held.owner()).await?,
        "the owner could not hand over"
    );
    ensure!(!held.renew(LONG).await?, "who handed over can still renew");
    Ok(())
}

async fn an_adopted_section_is_renewed(stage: Stage) -> Outcome {
    let (giver, taker) = (stage.first(), stage.another().await?);
    let guard = giver.lock("name").ttl(stage.ttl()).acquire().await?;
    let ticket = guard.into_ticket()?;
    let request = taker.lock("name").ttl(stage.ttl());
    let adopted = request.adopt(ticket).await?;
    for _ in 0..6 {
        stage.pass(stage.ttl() / 2).await;
        ensure!(adopted.is_held(), "an adopted lock was not renewed");
    }
    ensure!(
        giver.lock("name").try_acquire().await?.is_none(),
        "an adopted lock ended with the giver's lease"
    );
    adopted.release().await?;
    Ok(())
}
