//! What the functions cost when there are many locks.

use tokio_postgres::Client;

use super::stage::{Database, number};

/// Every table is empty, and PostgreSQL knows that. It is not told of what comes next.
const EMPTY: &str = "VACUUM (ANALYZE) lock_runtime.sections, lock_runtime.waiters,
    lock_runtime.assignments, lock_runtime.tombstones";

const STAYS_EMPTY: &str = "ALTER TABLE lock_runtime.sections SET (autovacuum_enabled = off);
    ALTER TABLE lock_runtime.waiters SET (autovacuum_enabled = off);
    ALTER TABLE lock_runtime.assignments SET (autovacuum_enabled = off);
    ALTER TABLE lock_runtime.tombstones SET (autovacuum_enabled = off)";

/// Many locks of others, each of them held, waited for, and assigned.
const MANY: &str = "
    INSERT INTO lock_runtime.sections
        SELECT '', 'n' || n, 'o' || n, 0, n, now(), 'infinity', NULL, '', '{}'
        FROM generate_series(1, 20000) n;
    INSERT INTO lock_runtime.waiters
            (namespace, name, owner, mode, auth, since, shown, channel, info)
        SELECT '', 'n' || n, 'w' || n, 0, 0, now(), now(), '-', '{}'
        FROM generate_series(1, 20000) n;
    INSERT INTO lock_runtime.assignments
        SELECT '', 'n' || n, 'h' || n, now(), 'infinity', NULL FROM generate_series(1, 20000) n;
    INSERT INTO lock_runtime.tombstones
        SELECT 't' || n, 'infinity' FROM generate_series(1, 20000) n";

/// A turn without anybody else, one with a queue, and all that can be done with a turn.
const TURNS: [&str; 14] = [
    "enter('', 'x', 'a', 0, 60000, 0, 'queue', 0::smallint, NULL, 'here', '{}')",
    "renew('', 'x', 'a', 60000, 1)",
    "release('', 'x', 'a', true, false, 'here')",
    "enter('', 'x', 'a', 0, 60000, 0, 'queue', 0::smallint, NULL, 'here', '{}')",
    "enter('', 'x', 'a', 0, 60000, 0, 'queue', 0::smallint, NULL, 'here', '{}')",
    "enter('', 'x', 'b', 0, 60000, 0, 'queue', 0::smallint, NULL, 'there', '{}', 1)",
    "enter('', 'x', 'c', 2, 60000, 0, 'try', 0::smallint, NULL, 'here', '{}')",
    "release('', 'x', 'a', true, true, 'here')",
    "adopt('', 'x', 'b', 'd', 60000, 'here', '{}')",
    "enter('', 'x', 'e', 0, 60000, 0, 'queue', 1::smallint, 'anna', 'there', '{}')",
    "change('', 'x', 'assign', 'anna', 60000, 'caller', 'anna', NULL, 'first', true, 'here')",
    "change('', 'x', 'unassign', NULL, NULL, 'operator', NULL, NULL, 'second', true, 'here')",
    "release('', 'x', 'e', false, false, 'here')",
    "force_release('', 'x', 'there')",
];

async fn take_turns(client: &Client) {
    for call in TURNS {
        let sql = format!("SELECT lock_runtime.{call}");
        let called = client.batch_execute(&sql).await;
        called.unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
    let sql = "DELETE FROM lock_runtime.tombstones WHERE id IN ('a', 'first', 'second')";
    client.batch_execute(sql).await.unwrap();
}

/// A plan that was made while there were no locks is used when there are many.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_reads_a_whole_table() {
    let database = Database::create();
    drop(database.manager().await);
    let client = database.client().await;
    client.batch_execute(STAYS_EMPTY).await.unwrap();
    client.batch_execute(EMPTY).await.unwrap();
    take_turns(&client).await;
    client.batch_execute(MANY).await.unwrap();
    // What this transaction reads is known at once.
    client.batch_execute("BEGIN").await.unwrap();
    let read = |what: &str| {
        format!(
            "SELECT coalesce(sum({what}), 0)::int8 FROM pg_stat_xact_user_tables
                WHERE schemaname = 'lock_runtime' AND relname <> 'sweeps'"
        )
    };
    let (whole, by_index) = (read("seq_tup_read"), read("idx_scan"));
    let before = (
        number(&client, &whole).await,
        number(&client, &by_index).await,
    );
    for call in TURNS {
        let sql = format!("SELECT lock_runtime.{call}");
        client.batch_execute(&sql).await.unwrap();
        assert_eq!(number(&client, &whole).await, before.0, "{call}");
    }
    assert!(number(&client, &by_index).await > before.1);
}
