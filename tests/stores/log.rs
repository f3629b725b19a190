//! What the log says of a store.

use tracing::Level;

use crate::harness::until;
use crate::listening;
use crate::store::Store;

/// How many lines say this of the server at this port.
fn said(port: u16, what: &str) -> usize {
    let lines = listening::lines(Level::INFO);
    let place = format!(":{port}");
    let is_it = |line: &&String| {
        let after = line.split_once(&place).map(|(_, after)| after);
        after.is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
            && line.contains(what)
    };
    lines.iter().filter(is_it).count()
}

pub(crate) async fn a_store_that_goes_away_and_comes_back_is_told_of_once(store: Store) {
    listening::begin();
    let mut server = store.start();
    let (manager, port) = (server.manager().await, server.port());
    manager.lock("name").info().await.unwrap();
    assert_eq!(said(port, "reach"), 0);
    server.kill();
    for _ in 0..2 {
        manager.lock("name").info().await.unwrap_err();
    }
    assert_eq!(said(port, "is out of reach"), 1);
    server.start_again();
    until("it answers again", async || {
        manager.lock("name").info().await.is_ok()
    })
    .await;
    until("the log says so", async || {
        said(port, "is in reach again") == 1
    })
    .await;
    assert_eq!(said(port, "is out of reach"), 1);
}
