//! A service that may call the functions and nothing else, and that would like to be their owner.

use tokio_postgres::Client;

use super::stage::{Database, client as client_of, number};

/// Looks like PostgreSQL's own, and notes down where it runs as somebody else than the session's
/// user. A sequence knows it after a rollback too.
///
/// There is a double of whatever has a name that stands in the functions, in the schema `evil`:
/// operators, and functions. The doubles of types are domains, each with a check.
const DOUBLES: &str = r#"
CREATE SEQUENCE evil.caught;
CREATE FUNCTION evil.look(what text) RETURNS boolean LANGUAGE plpgsql AS $look$
BEGIN
    IF current_user OPERATOR(pg_catalog.<>) session_user THEN
        PERFORM pg_catalog.nextval('evil.caught');
        RAISE WARNING '% runs as %', what, current_user;
    END IF;
    RETURN true;
END $look$;
DO $make$
DECLARE
    v_double record;
    v_words text[] := (
        SELECT array_agg(DISTINCT word[1]) FROM pg_proc p, regexp_matches(p.prosrc, '\w+', 'g') word
        WHERE p.pronamespace = 'lock_runtime'::regnamespace);
BEGIN
    FOR v_double IN
        SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
            format_type(p.prorettype, NULL) AS result,
            (SELECT string_agg('$' || n, ', ') FROM generate_series(1, p.pronargs) n) AS passed
        FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (v_words)
            AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0
            AND NOT EXISTS (
                SELECT FROM pg_type t WHERE t.oid = ANY (p.proargtypes::oid[] || p.prorettype)
                    AND t.typtype = 'p' AND t.typname <> 'void')
    LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
            v_double.proname, v_double.arguments, v_double.result,
            format('BEGIN PERFORM evil.look(%L); %s pg_catalog.%I(%s); END', v_double.proname,
                CASE v_double.result WHEN 'void' THEN 'PERFORM' ELSE 'RETURN' END,
                v_double.proname, v_double.passed));
    END LOOP;
    FOR v_double IN
        SELECT row_number() OVER () AS number, sides.* FROM (
            SELECT o.oprname, format_type(o.oprleft, NULL) AS left_type,
                format_type(o.oprright, NULL) AS right_type,
                format_type(o.oprresult, NULL) AS result
            FROM pg_operator o
            WHERE o.oprname IN ('=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '||')
                AND o.oprnamespace = 'pg_catalog'::regnamespace
                AND NOT EXISTS (SELECT FROM pg_type t
                    WHERE t.oid IN (o.oprleft, o.oprright, o.oprresult) AND t.typtype = 'p')
            UNION ALL VALUES ('||', 'text', 'bigint', 'text'), ('||', 'text[]', 'text', 'text[]')
        ) sides WHERE left_type <> '-'
    LOOP
        EXECUTE format('CREATE FUNCTION evil.of_operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql
                AS %L',
            v_double.number, v_double.left_type, v_double.right_type, v_double.result,
            format('BEGIN PERFORM evil.look(%L); RETURN $1 OPERATOR(pg_catalog.%s) $2; END',
                'operator ' || v_double.oprname, v_double.oprname));
        EXECUTE format('CREATE OPERATOR evil.%s
                (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.of_operator_%s)',
            v_double.oprname, v_double.left_type, v_double.right_type, v_double.number);
    END LOOP;
END $make$;
"#;

/// They come last: where they are in the way few words mean what they did.
const TYPES: &str = r#"
DO $make$
DECLARE
    v_type name;
BEGIN
    FOREACH v_type IN ARRAY '{text, json, jsonb, timestamptz, interval, bool, int2, int4, int8}'
        ::name[]
    LOOP
        EXECUTE format('CREATE DOMAIN SCHEMA.%I AS pg_catalog.%I CHECK (evil.look(%L))',
            v_type, v_type, 'type ' || v_type);
    END LOOP;
    EXECUTE 'CREATE TYPE SCHEMA.record AS (first SCHEMA.text)';
END $make$;
"#;

/// What comes first, and what only looks as if it were safe.
const PATHS: [&str; 5] = [
    "evil, pg_temp, pg_catalog",
    "pg_temp, evil, pg_catalog",
    "evil",
    "pg_catalog",
    r#""pg_catalog, pg_temp""#,
];

/// Every function that somebody may call, wherever its way leads.
const CALLS: [&str; 31] = [
    "version()",
    "enter('', 'n', 'a', 0, 60000, 1, 'try', 0::smallint, NULL, 'here', '{}')",
    "enter('', 'n', 'a', 0, 60000, 1, 'try', 0::smallint, NULL, 'here', '{}')",
    "enter('', 'n', 'b', 0, 60000, 0, 'try', 0::smallint, NULL, 'here', '{}')",
    "enter('', 'n', 'b', 0, 60000, 0, 'queue', 0::smallint, NULL, 'here', '{}')",
    "enter('', 'n', 'c', 0, 60000, 0, 'queue', 0::smallint, NULL, 'there', '{}', 1)",
    "enter('', 'n', 'd', 2, 60000, 0, 'queue', 1::smallint, 'anna', 'here', '{}', 1)",
    "enter('', 'n', 'e', 3, 60000, 0, 'queue', 1::smallint, 'bob', 'there', '{}', 1)",
    "enter('', 'n', 'b', 0, 60000, 0, 'last', 0::smallint, NULL, 'here', '{}')",
    "renew('', 'n', 'a', 60000, 1)",
    "inspect('', 'n', true)",
    "list('', '', '', 10)",
    "adopt('', 'n', 'a', 'A', 60000, 'there', '{}')",
    "verify('', 'n', 'A')",
    "release('', 'n', 'A', false, true, 'here')",
    "release('', 'n', 'A', true, true, 'here')",
    "release('', 'n', 'c', true, false, 'here')",
    "force_release('', 'n', 'there')",
    "change('', 'n', 'assign', 'anna', 60000, 'caller', 'anna', NULL, 'first', false, 'here')",
    "change('', 'n', 'transfer', 'bob', NULL, 'holder', 'anna', NULL, 'second', true, 'here')",
    "enter('', 'n', 'f', -1, 60000, 0, 'queue', 2::smallint, 'carl', 'here', '{}')",
    "change('', 'n', 'unassign', NULL, NULL, 'operator', NULL, NULL, 'third', true, 'here')",
    "enter('', 'p', 'g', -1, 1, 60000, 'try', 0::smallint, NULL, 'here', '{}')",
    "enter('', 'p', 'h', -1, 60000, 1, 'queue', 0::smallint, NULL, 'there', '{}')",
    "release('', 'p', 'g', true, true, 'here')",
    "release('', 'p', 'h', true, false, 'here')",
    "renew('', 'nothing', 'a', 60000, 1)",
    "release('', 'nothing', 'a', false, true, 'here')",
    "adopt('', 'nothing', 'a', 'b', 60000, 'there', '{}')",
    "force_release('', 'p', 'there')",
    "sweep()",
];

/// Every function there is with no value for each argument, so that it is read in this session for
/// the first time, which most of them do not survive.
const ALL: &str = "SELECT pg_catalog.format('SELECT lock_runtime.%I(%s)', p.proname,
        (SELECT pg_catalog.string_agg(pg_catalog.format('NULL::%s',
            pg_catalog.format_type(t, NULL)), ', ') FROM pg_catalog.unnest(p.proargtypes) t))
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'lock_runtime'::pg_catalog.regnamespace
        AND p.prorettype <> 'trigger'::pg_catalog.regtype";

/// Nothing is known of any lock.
const FRESH: &str = "TRUNCATE lock_runtime.sections, lock_runtime.waiters,
    lock_runtime.assignments, lock_runtime.tombstones;
    UPDATE lock_runtime.sweeps SET swept = '-infinity'";

/// What an owner must not have: each of them is caught.
const CARELESS: [&str; 4] = [
    "DECLARE v text := 'a'; BEGIN RETURN v OPERATOR(pg_catalog.||) 'b'; END",
    "DECLARE v record; BEGIN SELECT 'a'::pg_catalog.text INTO v; RETURN v; END",
    "BEGIN IF p = 'a' THEN RETURN p; END IF; RETURN p; END",
    "BEGIN RETURN left(p, 1); END",
];

/// A service with the rights that the documentation speaks of, and a schema of its own.
async fn service(database: &Database) -> String {
    drop(database.manager().await);
    let url = database.url_of_role("service", "");
    let role = format!("service_{}", database.name);
    let grants = format!(
        "GRANT USAGE ON SCHEMA lock_runtime TO {role};
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA lock_runtime TO {role};
         CREATE SCHEMA evil AUTHORIZATION {role};"
    );
    let owner = database.client().await;
    owner.batch_execute(&grants).await.unwrap();
    let service = client_of(&url).await;
    service.batch_execute(DOUBLES).await.expect("it may");
    let types = TYPES.replace("SCHEMA", "evil");
    service.batch_execute(&types).await.expect("it may");
    url
}

/// A session of the service that has put its own things before those of PostgreSQL.
async fn session(url: &str, path: &str) -> Client {
    let session = client_of(url).await;
    let types = TYPES.replace("SCHEMA", "pg_temp");
    session.batch_execute(&types).await.expect("it may");
    let set = format!("SET search_path = {path}");
    session.batch_execute(&set).await.unwrap();
    session
}

/// How often something of the service's ran as somebody else.
async fn caught(owner: &Client) -> i64 {
    let sql = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM evil.caught";
    number(owner, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_caller_runs_as_the_owner() {
    let database = Database::create();
    let url = service(&database).await;
    let owner = database.client().await;
    let statements = owner.query(ALL, &[]).await.unwrap();
    let statements: Vec<String> = statements.iter().map(|row| row.get(0)).collect();
    assert!(statements.len() > CALLS.len() / 2, "{statements:?}");
    for path in PATHS {
        for are_read_before in [false, true] {
            owner.batch_execute(FRESH).await.unwrap();
            let session = session(&url, path).await;
            if are_read_before {
                for statement in &statements {
                    // Some run as the service itself, which may do nothing with the tables.
                    let _refused = session.batch_execute(statement).await;
                    assert_eq!(caught(&owner).await, 0, "{statement} with {path}");
                }
            }
            for call in CALLS {
                let sql = format!("SELECT lock_runtime.{call}");
                let called = session.batch_execute(&sql).await;
                let caught = caught(&owner).await;
                assert_eq!(
                    caught, 0,
                    "{call} with {path}, read before: {are_read_before}"
                );
                called.unwrap_or_else(|error| panic!("{call} with {path}: {error:?}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_trusts_its_caller_is_caught() {
    let database = Database::create();
    let url = service(&database).await;
    let owner = database.client().await;
    for (number, body) in CARELESS.iter().enumerate() {
        let sql = format!(
            "CREATE FUNCTION careless_{number}(p text) RETURNS text LANGUAGE plpgsql
                SECURITY DEFINER AS $${body}$$"
        );
        owner.batch_execute(&sql).await.unwrap();
        let session = session(&url, PATHS[0]).await;
        let before = caught(&owner).await;
        let sql = format!("SELECT public.careless_{number}('a')");
        let _whatever = session.batch_execute(&sql).await;
        assert!(caught(&owner).await > before, "{body}");
    }
}
