//! A release hands the name to the next waiter, who need not ask once more.

use std::process::{Child, Command};
use std::time::Duration;

use lock_runtime::{Guard, LockError, LockManager};
use servers::Proxy;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::stage::{
    Database, LONG, client as client_of, connect, number, rows, soon, until, until_waiting,
};

/// For how long a name stays handed to somebody who says nothing.
const HANDED_FOR: Duration = Duration::from_millis(1_500);

/// Where no lock of these tests lasts for so long by itself, in seconds.
const RENEWED: i64 = 100;

/// A database that notes down which calls made a section, or changed one.
async fn watched() -> (Database, Client) {
    let database = Database::create();
    drop(database.manager().await);
    let client = database.client().await;
    let sql = "CREATE TABLE public.seen (owner text, token bigint, operation text, query text);
        CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO public.seen VALUES (NEW.owner, NEW.token, TG_OP, current_query());
            RETURN NULL;
        END $$;
        CREATE TRIGGER see AFTER INSERT OR UPDATE ON lock_runtime.sections
            FOR EACH ROW EXECUTE FUNCTION public.see()";
    client.batch_execute(sql).await.unwrap();
    (database, client)
}

/// How many of the sections with these numbers were made by another call than their own.
async fn handed(client: &Client) -> i64 {
    let sql = "SELECT count(*) FROM public.seen
        WHERE operation = 'INSERT' AND owner NOT LIKE 'rest %'
            AND query NOT LIKE '%.enter(%' || owner || '%'";
    number(client, sql).await
}

/// Ends one section, and waits until the next is there.
async fn turn(guard: Guard, waiting: JoinHandle<Result<Guard, LockError>>) -> Guard {
    guard.release().await.expect("it is held");
    let next = soon("the next one enters", waiting).await;
    next.unwrap().expect("a turn")
}

/// A section that was handed to the second of these managers.
async fn handed_over(holder: &LockManager, waiter: &LockManager, client: &Client) -> Guard {
    let before = handed(client).await;
    let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
    let waiting = tokio::spawn(waiter.lock("name").ttl(LONG).wait(LONG).acquire());
    until_waiting(holder, "name", 1).await;
    let next = turn(guard, waiting).await;
    assert_eq!(handed(client).await, before + 1, "it was not handed over");
    next
}

async fn seconds_left(client: &Client) -> i64 {
    let sql = "SELECT coalesce(max(extract(epoch FROM ends - clock_timestamp())), 0)::int8
        FROM lock_runtime.sections";
    number(client, sql).await
}

/// A manager whose statements and whose messages go ways of their own.
async fn on_two_ways(database: &Database) -> (LockManager, Proxy, Proxy) {
    let (statements, messages) = (
        Proxy::to(database.server.port()),
        Proxy::to(database.server.port()),
    );
    let listen = messages.url(&database.url());
    let url = format!("{}?listen_url={listen}", statements.url(&database.url()));
    (connect(&url).await.unwrap(), statements, messages)
}

/// A waiter that will never say anything more, as of a process that has died.
async fn waiter(client: &Client, owner: &str, channel: &str) {
    let sql = format!(
        "SELECT lock_runtime.enter(namespace, name, '{owner}', 0, 600000, 0, 'queue', 0::int2,
            NULL, '{channel}', info, 1) FROM lock_runtime.sections"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_served_without_a_question_of_the_next() {
    const ROUNDS: i64 = 10;
    let (database, client) = watched().await;
    let (one, other) = (database.manager().await, database.manager().await);
    // In another process, and in the one that releases.
    for waiter in [&one, &other] {
        let before = number(&client, QUESTIONS).await;
        for _ in 0..ROUNDS {
            let next = handed_over(&one, waiter, &client).await;
            assert!(next.is_held());
            next.release().await.unwrap();
        }
        // One may have been under way: a waiter shows itself now and then.
        let questions = number(&client, QUESTIONS).await - before;
        assert!(questions <= ROUNDS / 2, "{questions} asked all the same");
    }
    assert_eq!(rows(&client).await, 0);
}

/// How often somebody asked who had the section already.
const QUESTIONS: &str = "SELECT count(*) FROM public.seen
    WHERE operation = 'UPDATE' AND query LIKE '%.enter(%' || owner || '%'";

#[tokio::test(flavor = "multi_thread")]
async fn all_who_may_be_in_together_are_handed_the_name() {
    let (database, client) = watched().await;
    let (one, other) = (database.manager().await, database.manager().await);
    for fit in [2, 3] {
        let request = |manager: &LockManager| {
            let request = manager.lock("name").ttl(LONG).wait(LONG);
            if fit == 2 {
                request.permits(2)
            } else {
                request.shared()
            }
        };
        client.batch_execute("TRUNCATE public.seen").await.unwrap();
        let guard = one.lock("name").ttl(LONG).acquire().await.unwrap();
        let mut waiting = JoinSet::new();
        for count in 1..=3 {
            waiting.spawn(request(if count == 2 { &one } else { &other }).acquire());
            until_waiting(&one, "name", count).await;
        }
        let last = tokio::spawn(one.lock("name").ttl(LONG).wait(LONG).acquire());
        until_waiting(&one, "name", 4).await;
        guard.release().await.unwrap();
        assert_eq!(handed(&client).await, fit);
        let mut inside = Vec::new();
        for _ in 0..fit {
            let next = soon("all who fit enter", waiting.join_next()).await;
            let next = next.unwrap().unwrap().unwrap();
            assert!(next.fencing_token().is_none());
            inside.push(next);
        }
        let info = one.lock("name").info().await.unwrap();
        assert_eq!(info.sections.len(), inside.len());
        for guard in inside {
            guard.release().await.unwrap();
        }
        while let Some(next) = soon("the third has its turn", waiting.join_next()).await {
            next.unwrap().unwrap().release().await.unwrap();
        }
        let last = soon("the last has its turn", last).await.unwrap().unwrap();
        assert!(last.fencing_token().is_some());
        last.release().await.unwrap();
    }
}

/// A name that has to rest after the body, a lease that nobody renews, one that is shorter than
/// the moment, and a process that nobody can tell anything.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_be_handed_a_name_asks_for_it() {
    let (database, client) = watched().await;
    let (one, other) = (database.manager().await, database.manager().await);
    let plain = || other.lock("name").ttl(LONG).wait(LONG);
    let requests = [
        plain().at_least(Duration::from_millis(1)),
        plain().renew(false),
        plain().ttl(HANDED_FOR - Duration::from_millis(1)),
    ];
    for request in requests {
        let guard = one.lock("name").ttl(LONG).acquire().await.unwrap();
        let waiting = tokio::spawn(request.acquire());
        until_waiting(&one, "name", 1).await;
        turn(guard, waiting).await.release().await.unwrap();
        assert_eq!(handed(&client).await, 0);
    }
    let guard = one.lock("name").ttl(LONG).acquire().await.unwrap();
    waiter(&client, "deaf", "-nobody").await;
    guard.release().await.unwrap();
    assert_eq!(handed(&client).await, 0);
    assert_eq!(rows(&client).await, 1);
}

/// The message that it was handed a name reaches a process when it has lost that name, and waits
/// for it anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_late_starts_nothing() {
    const MESSAGES_TAKE: Duration = Duration::from_secs(6);
    let (database, client) = watched().await;
    let (far, statements, messages) = on_two_ways(&database).await;
    let (holder, near) = (database.manager().await, database.manager().await);
    let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
    let first = guard.fencing_token().unwrap();
    let mut waiting = tokio::spawn(far.lock("name").ttl(LONG).wait(LONG).acquire());
    until_waiting(&holder, "name", 1).await;
    let behind = tokio::spawn(near.lock("name").ttl(LONG).wait(LONG).acquire());
    until_waiting(&holder, "name", 2).await;
    messages.to_client().delay(MESSAGES_TAKE);
    statements.to_server().delay(2 * HANDED_FOR);
    guard.release().await.unwrap();
    let told = tokio::time::Instant::now() + MESSAGES_TAKE;
    assert_eq!(handed(&client).await, 1);
    let next = soon("the moment is over", behind).await.unwrap().unwrap();
    let second = next.fencing_token().unwrap();
    assert!(first < second);
    until_waiting(&near, "name", 1).await;
    // From now on it is not asking most of the time, but waiting to be told.
    statements.to_server().pass();
    let until_told = told + Duration::from_secs(1) - tokio::time::Instant::now();
    let early = tokio::time::timeout(until_told, &mut waiting).await;
    assert!(early.is_err(), "two hold the lock: {early:?}");
    assert!(next.is_held());
    next.release().await.unwrap();
    let last = soon("its turn comes", waiting).await.unwrap().unwrap();
    assert!(second < last.fencing_token().unwrap());
}

/// Who was not told asks, and has what it was handed.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_lost_costs_a_question() {
    let (database, client) = watched().await;
    let (far, _statements, messages) = on_two_ways(&database).await;
    let holder = database.manager().await;
    let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
    let waiting = tokio::spawn(far.lock("name").ttl(LONG).wait(LONG).acquire());
    until_waiting(&holder, "name", 1).await;
    messages.to_client().delay(LONG);
    guard.release().await.unwrap();
    assert_eq!(handed(&client).await, 1);
    // However slow this is, it still has it.
    let sql = "UPDATE lock_runtime.sections SET ends = clock_timestamp() + interval '600 s'";
    client.batch_execute(sql).await.unwrap();
    messages.reset();
    messages.to_client().pass();
    let next = soon("it asks", waiting).await.unwrap().unwrap();
    assert_eq!(handed(&client).await, 1);
    let sql = "SELECT max(token) FROM public.seen";
    let token = number(&client, sql).await;
    assert_eq!(
        i64::try_from(next.fencing_token().unwrap().get()),
        Ok(token)
    );
    next.release().await.expect("it is held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_waiter_costs_the_others_a_moment() {
    let (database, client) = watched().await;
    let (holder, other) = (database.manager().await, database.manager().await);
    let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
    waiter(&client, "dead", "nobody").await;
    let waiting = tokio::spawn(other.lock("name").ttl(LONG).wait(LONG).acquire());
    until_waiting(&holder, "name", 2).await;
    // However slow this is, it counts as alive.
    let shown = "UPDATE lock_runtime.waiters SET shown = clock_timestamp() WHERE owner = 'dead'";
    client.batch_execute(shown).await.unwrap();
    let next = turn(guard, waiting).await;
    assert_eq!(handed(&client).await, 1);
    let sql = "SELECT token FROM public.seen WHERE owner = 'dead'";
    let token = number(&client, sql).await;
    assert!(token < i64::try_from(next.fencing_token().unwrap().get()).unwrap());
    next.release().await.unwrap();
    assert_eq!(rows(&client).await, 0);
}

/// Where the process is told its database.
const STOPPED: &str = "POSTGRES_STOPPED_WORKER";

/// Not a test of its own: what the process does that is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_worker() {
    let Ok(url) = std::env::var(STOPPED) else {
        return;
    };
    let (manager, client) = (connect(&url).await.unwrap(), client_of(&url).await);
    let request = manager.lock("name").ttl(LONG).wait(LONG);
    let guard = request.acquire().await.unwrap();
    let token = i64::try_from(guard.fencing_token().unwrap().get()).unwrap();
    let sql = "INSERT INTO entered VALUES ($1)";
    client.execute(sql, &[&token]).await.unwrap();
    guard.release().await.unwrap();
}

fn signal(process: &Child, signal: &str) {
    let mut kill = Command::new("kill");
    kill.args([signal, &process.id().to_string()]);
    assert!(kill.status().unwrap().success());
}

/// A process that is stopped when it is handed the name, and goes on when another has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_costs_the_others_a_moment_and_starts_nothing() {
    let (database, client) = watched().await;
    client
        .batch_execute("CREATE TABLE entered (token bigint)")
        .await
        .unwrap();
    let (holder, near) = (database.manager().await, database.manager().await);
    let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
    let mut stopped = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "handing::stopped_worker", "--nocapture"])
        .env(STOPPED, database.url())
        .spawn()
        .unwrap();
    until_waiting(&holder, "name", 1).await;
    let behind = tokio::spawn(near.lock("name").ttl(LONG).wait(LONG).acquire());
    until_waiting(&holder, "name", 2).await;
    signal(&stopped, "-STOP");
    // However slow this is, it counts as alive.
    let shown = "UPDATE lock_runtime.waiters SET shown = clock_timestamp()";
    client.batch_execute(shown).await.unwrap();
    let next = turn(guard, behind).await;
    assert_eq!(handed(&client).await, 1);
    signal(&stopped, "-CONT");
    // It finds that it was told something, and that its place is gone.
    until_waiting(&near, "name", 1).await;
    tokio::time::sleep(HANDED_FOR).await;
    let entered = "SELECT count(*) FROM entered";
    assert_eq!(number(&client, entered).await, 0, "two hold the lock");
    assert!(next.is_held());
    let token = i64::try_from(next.fencing_token().unwrap().get()).unwrap();
    next.release().await.unwrap();
    until("it has its turn", async || {
        stopped.try_wait().unwrap().is_some()
    })
    .await;
    assert!(stopped.wait().unwrap().success());
    assert!(number(&client, "SELECT token FROM entered").await > token);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cancelled_when_it_was_handed_the_name_leaves_nothing() {
    let (database, client) = watched().await;
    let (far, _statements, messages) = on_two_ways(&database).await;
    let holder = database.manager().await;
    // Before it hears of it, which may be never.
    messages.to_client().delay(LONG);
    let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
    let waiting = tokio::spawn(far.lock("name").ttl(LONG).wait(LONG).acquire());
    until_waiting(&holder, "name", 1).await;
    guard.release().await.unwrap();
    assert_eq!(handed(&client).await, 1);
    // It does not end by itself.
    let sql = "UPDATE lock_runtime.sections SET ends = 'infinity'";
    client.batch_execute(sql).await.unwrap();
    waiting.abort();
    drop(waiting.await);
    until("nothing is left", async || rows(&client).await == 0).await;

    // And while it hears of it.
    let other = database.manager().await;
    for pause in 0..20 {
        let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
        let waiting = tokio::spawn(other.lock("name").ttl(LONG).wait(LONG).acquire());
        until_waiting(&holder, "name", 1).await;
        let releasing = tokio::spawn(guard.release());
        tokio::time::sleep(Duration::from_micros(200 * pause)).await;
        waiting.abort();
        drop(waiting.await);
        releasing.await.unwrap().unwrap();
        until("nothing is left", async || rows(&client).await == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_was_handed_over_is_renewed() {
    let (database, client) = watched().await;
    let (holder, other) = (database.manager().await, database.manager().await);
    let guard = handed_over(&holder, &other, &client).await;
    until("its lease is a whole one", async || {
        seconds_left(&client).await > RENEWED
    })
    .await;
    tokio::time::sleep(2 * HANDED_FOR).await;
    assert!(guard.is_held());
    let taken = holder.lock("name").try_acquire().await.unwrap();
    assert!(taken.is_none(), "two hold the lock");
    guard.release().await.expect("it is still held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_was_handed_over_and_is_not_renewed_is_lost_before_another_has_it() {
    let (database, client) = watched().await;
    let (holder, near) = (database.manager().await, database.manager().await);
    for round in 0.. {
        assert!(round < 20, "it was never told what it was handed");
        let (far, statements, _messages) = on_two_ways(&database).await;
        let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
        let waiting = tokio::spawn(far.lock("name").ttl(LONG).wait(LONG).acquire());
        until_waiting(&holder, "name", 1).await;
        let behind = tokio::spawn(near.lock("name").ttl(LONG).wait(LONG).acquire());
        until_waiting(&holder, "name", 2).await;
        statements.black_hole();
        let before = handed(&client).await;
        guard.release().await.unwrap();
        assert_eq!(handed(&client).await, before + 1);
        // It may have been asking just then, and then asks until there is an answer.
        let held = tokio::time::timeout(HANDED_FOR, waiting).await;
        let held = held.map(|held| held.unwrap().unwrap());
        let next = soon("the moment is over", behind).await.unwrap().unwrap();
        if let Ok(held) = &held {
            assert!(!held.is_held(), "two hold the lock");
            assert!(held.fencing_token() < next.fencing_token());
        }
        next.release().await.unwrap();
        if held.is_ok() {
            return;
        }
    }
}

/// Long before its next renewal would tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_was_handed_over_hears_that_it_was_forced_out() {
    let (database, client) = watched().await;
    let (holder, other) = (database.manager().await, database.manager().await);
    for operator in [&holder, &other] {
        let guard = handed_over(&holder, &other, &client).await;
        until("its lease is a whole one", async || {
            seconds_left(&client).await > RENEWED
        })
        .await;
        assert_eq!(operator.lock("name").force_release().await.unwrap(), 1);
        until("it is told", async || !guard.is_held()).await;
        let error = guard.release().await.unwrap_err();
        assert!(error.is_lost(), "{error}");
        assert!(error.to_string().contains("forc"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_was_handed_over_can_be_given_away() {
    let (database, client) = watched().await;
    let (holder, other) = (database.manager().await, database.manager().await);
    let guard = handed_over(&holder, &other, &client).await;
    let token = guard.fencing_token();
    let adopted = holder.lock("name").adopt(guard.into_ticket().unwrap());
    let adopted = adopted.await.unwrap();
    assert_eq!(adopted.fencing_token(), token);
    tokio::time::sleep(2 * HANDED_FOR).await;
    adopted.release().await.expect("it is still held");
    assert_eq!(rows(&client).await, 0);
}

/// Who releases twice, because the first answer was lost, takes nothing from the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_comes_twice_hands_the_name_over_once() {
    let (database, client) = watched().await;
    let (holder, other) = (database.manager().await, database.manager().await);
    let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
    let mut waiting = JoinSet::new();
    for count in 1..=2 {
        waiting.spawn(other.lock("name").ttl(LONG).wait(LONG).acquire());
        until_waiting(&holder, "name", count).await;
    }
    let sql = "CREATE TABLE held AS SELECT * FROM lock_runtime.sections";
    client.batch_execute(sql).await.unwrap();
    guard.release().await.unwrap();
    let again = "SELECT count(*) FROM held h, LATERAL lock_runtime.release(h.namespace, h.name,
        h.owner, true, false, h.channel) r WHERE r = '{\"held\": false}'";
    assert_eq!(number(&client, again).await, 1);
    assert_eq!(handed(&client).await, 1);
    for _ in 0..2 {
        let next = soon("everybody has a turn", waiting.join_next()).await;
        let next = next.unwrap().unwrap().unwrap();
        assert!(next.is_held());
        next.release().await.expect("it is held");
    }
}
