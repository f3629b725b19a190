//! A process loses its connection, in each phase of a section.

use std::time::Duration;

use super::LASTING;
use super::crew::{Crew, Phase, Worker};
use crate::harness::ms;
use crate::store::Store;

/// When the connection breaks.
#[derive(Clone, Copy, Debug)]
enum When {
    /// The request has not got to the server.
    Asking,
    /// Its answer is on the way: the server has queued or granted it.
    Answered,
    Waiting,
    Holding,
    /// The release has not got to the server.
    Leaving,
    /// It has, and the answer is on the way.
    Left,
}

impl When {
    const ALL: [Self; 6] = [
        Self::Asking,
        Self::Answered,
        Self::Waiting,
        Self::Holding,
        Self::Leaving,
        Self::Left,
    ];
}

/// How it breaks.
#[derive(Clone, Copy, Debug)]
enum How {
    /// As by a firewall that forgot it. The next one gets through.
    Reset,
    /// For a while there is no other.
    Cut,
}

/// What is on its way is on its way for so long.
const DELAY: Duration = ms(60);

pub(crate) async fn connections_are_cut_in_each_phase(store: Store) {
    let server = store.start();
    let mut crew = Crew::start(store, &server, &LASTING).await;
    let count = crew.workers.len();
    let mut next = (0..count).cycle();
    for how in [How::Reset, How::Cut] {
        for when in When::ALL {
            // Whoever was quicker than the fault is not hit.
            let mut attempts = 0;
            loop {
                let worker = &mut crew.workers[next.next().expect("for ever")];
                if is_hit(worker, when, how).await {
                    break;
                }
                attempts += 1;
                assert!(attempts < 20, "nobody was hit: {when:?} {how:?}");
            }
            crew.goes_on(1).await;
        }
    }
    // No lease has ended, and nobody's section is another's.
    assert_eq!(crew.sum(|said| said.refused + said.lost), 0);
    crew.ends(&server, 100).await;
}

/// Breaks a connection. Returns whether the phase was that still when it was broken.
async fn is_hit(worker: &mut Worker, when: When, how: How) -> bool {
    match when {
        When::Asking | When::Leaving => worker.proxy.to_server().delay(DELAY),
        When::Answered | When::Left => worker.proxy.to_client().delay(DELAY),
        When::Waiting | When::Holding => {}
    }
    let before = match when {
        When::Asking | When::Answered => worker.begins(Phase::Asking).await,
        When::Waiting => worker.queues().await,
        When::Holding => {
            worker.stays().await;
            worker.said()
        }
        When::Leaving | When::Left => worker.begins(Phase::Leaving).await,
    };
    if matches!(when, When::Answered | When::Left) {
        // The request gets there, and its answer has most of its way before it.
        tokio::time::sleep(DELAY / 4).await;
    }
    match how {
        How::Reset => worker.proxy.reset(),
        How::Cut => worker.proxy.cut(),
    }
    let is_hit = worker.said().changes == before.changes;
    if matches!(how, How::Cut) {
        tokio::time::sleep(2 * DELAY).await;
    }
    worker.proxy.mend();
    if matches!(when, When::Holding) {
        worker.goes();
    }
    is_hit
}
