//! Photon: what was seen to go wrong in its daemon, and does not in a store.

use crate::harness::{LONG, is_free, soon, until};
use crate::store::Store;

pub(crate) async fn a_store_that_comes_back_lets_no_rival_in_beside_the_old_holder(store: Store) {
    let mut server = store.start();
    let (manager, rival) = (server.manager().await, server.manager().await);
    let guard = manager.lock("resource").ttl(LONG).acquire().await.unwrap();
    server.kill();
    // Before it is there, and as soon as it is.
    let waiting = tokio::spawn(rival.lock("resource").wait(LONG).acquire());
    server.start_again();
    until("the rival is answered", async || {
        rival.lock("resource").info().await.is_ok()
    })
    .await;
    assert!(!is_free(&rival, "resource").await);
    assert!(guard.is_held() && !waiting.is_finished());
    let token = guard.fencing_token();
    guard.release().await.unwrap();
    let next = soon("its turn", waiting).await.unwrap().unwrap();
    assert!(next.fencing_token() > token);
    next.release().await.unwrap();
    server.keeps_nothing().await;
}

pub(crate) async fn two_tasks_of_one_process_do_not_both_enter(store: Store) {
    let manager = store.room().manager().await;
    let guard = manager.lock("resource").acquire().await.unwrap();
    let other = manager.clone();
    let entered = tokio::spawn(async move { is_free(&other, "resource").await });
    assert!(!entered.await.unwrap());
    guard.release().await.unwrap();
    assert!(is_free(&manager, "resource").await);
}

/// A character of several bytes is divided between two packets.
pub(crate) async fn a_name_in_any_script_stays_one_name_in_packets_of_a_byte(store: Store) {
    let room = store.room();
    let (proxy, url) = room.server.way();
    let (manager, observer) = (room.manager_at(&url).await, room.manager().await);
    proxy.to_server().slice();
    proxy.to_client().slice();
    for name in ["заказ:42", "注文:四十二", "🔒🔑", "naïve", "ﷺ"] {
        let guard = manager.lock(name).acquire().await.unwrap();
        let info = observer.lock(name).info().await.unwrap();
        assert_eq!(info.section().unwrap().token, guard.fencing_token());
        // In the answers as well.
        let listed = manager.list("").await.unwrap();
        let listed: Vec<_> = listed.iter().map(|info| info.name.as_str()).collect();
        assert_eq!(listed, [name]);
        guard.release().await.unwrap();
        assert_eq!(manager.list("").await.unwrap(), []);
    }
}
