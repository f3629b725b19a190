//! Who may make the schema, and what a service needs to use it.

use lock_runtime::{PostgresBackend, Wait};
use tokio::task::JoinSet;

use super::stage::{Database, connect, refusal, soon};

/// Runs the migration as the superuser, in the database of the test.
async fn migrate(database: &Database) {
    let client = database.client().await;
    client
        .batch_execute(PostgresBackend::migration())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_needs_nothing_but_the_functions() {
    let database = Database::create();
    migrate(&database).await;
    let url = database.url_of_role("service", "");
    let role = format!("service_{}", database.name);
    let client = database.client().await;

    let text = refusal(&format!("{url}?migrate=false")).await;
    assert!(
        text.contains(&role) && text.contains("GRANT USAGE"),
        "{text}"
    );
    assert!(text.contains("GRANT EXECUTE"), "{text}");

    let grants = format!(
        "GRANT USAGE ON SCHEMA lock_runtime TO {role};
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA lock_runtime TO {role};"
    );
    client.batch_execute(&grants).await.unwrap();
    let managers = [connect(&url).await.unwrap(), connect(&url).await.unwrap()];
    let guard = managers[0].lock("name").acquire().await.unwrap();
    let waiting = tokio::spawn(managers[1].lock("name").run(async || ()));
    super::stage::until_waiting(&managers[0], "name", 1).await;
    assert!(managers[1].lock("name").is_locked().await.unwrap());
    guard.release().await.unwrap();
    soon("the waiter enters", waiting).await.unwrap().unwrap();
    managers[0].acquire_lock("turn", "anna").await.unwrap();
    managers[0]
        .lock("name")
        .shared()
        .run(async || ())
        .await
        .unwrap();

    for relation in [
        "sections",
        "waiters",
        "assignments",
        "tombstones",
        "verifications",
    ] {
        let sql = format!("SET ROLE {role}; SELECT * FROM lock_runtime.{relation}");
        let denied = client.batch_execute(&sql).await.unwrap_err();
        assert_eq!(denied.code().unwrap().code(), "42501", "{relation}");
    }
    let sql = format!("SET ROLE {role}; SELECT nextval('lock_runtime.tokens')");
    assert!(client.batch_execute(&sql).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_missing_and_may_not_be_made_says_what_to_run() {
    let database = Database::create();
    let url = database.url_of_role("guest", "");
    let text = refusal(&url).await;
    let role = format!("guest_{}", database.name);
    for part in [&role, "migration()", "GRANT USAGE", "`lock_runtime`"] {
        assert!(text.contains(part), "{text}");
    }
    let text = refusal(&format!("{}?migrate=false&schema=locks", database.url())).await;
    for part in [
        "migrate=false",
        "in the place of `lock_runtime`",
        "ON SCHEMA locks",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_create_a_schema_makes_it() {
    let database = Database::create();
    let url = database.url_of_role("maker", "");
    let role = format!("maker_{}", database.name);
    let grant = format!("GRANT CREATE ON DATABASE {} TO {role}", database.name);
    database.server.query(&grant);
    let manager = connect(&url).await.unwrap();
    manager.lock("name").run(async || ()).await.unwrap();
    // Somebody else may not use it unasked.
    let text = refusal(&database.url_of_role("other", "")).await;
    assert!(text.contains("GRANT USAGE"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_start_at_once_make_one_schema() {
    let database = Database::create();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let url = database.url();
        tasks.spawn(async move {
            let manager = connect(&url).await.unwrap();
            let request = manager.lock("name");
            request.run(async || ()).await.unwrap();
        });
    }
    while let Some(done) = soon("all have started", tasks.join_next()).await {
        done.unwrap();
    }
    // Once more takes nothing away.
    let manager = database.manager().await;
    let guard = manager.lock("name").acquire().await.unwrap();
    migrate(&database).await;
    guard.extend(super::stage::LONG).await.unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_of_one_database_are_apart() {
    let database = Database::create();
    let one = database.manager().await;
    let other = connect(&format!("{}?schema=locks", database.url()))
        .await
        .unwrap();
    let guard = one.lock("name").acquire().await.unwrap();
    let free = other.lock("name").try_acquire().await.unwrap();
    assert!(free.is_some(), "two schemas share a lock");
    drop((guard, free));
    let client = database.client().await;
    let sql = "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'locks' AND p.prosrc LIKE '%lock_runtime%'";
    assert_eq!(super::stage::number(&client, sql).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_newer_version_is_refused() {
    let database = Database::create();
    drop(database.manager().await);
    let client = database.client().await;
    let sql = "CREATE OR REPLACE FUNCTION lock_runtime.version() RETURNS integer
        LANGUAGE sql IMMUTABLE AS 'SELECT 2'";
    client.batch_execute(sql).await.unwrap();
    let text = refusal(&database.url()).await;
    assert!(
        text.contains("version 2") && text.contains("update the program"),
        "{text}"
    );
}

/// The functions decide by what others have committed, and refuse to run where they would not see
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn functions_refuse_to_decide_by_an_old_snapshot() {
    let database = Database::create();
    let manager = database.manager().await;
    let request = manager.lock("name").wait(Wait::NONE);
    request.run(async || ()).await.unwrap();
    let client = database.client().await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let sql = format!(
            "BEGIN ISOLATION LEVEL {level}; SELECT lock_runtime.renew('', 'name', 'x', 1000, 1)"
        );
        let refused = client.batch_execute(&sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "LR002");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
