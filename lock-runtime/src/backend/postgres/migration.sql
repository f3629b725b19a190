-- Locks of the crate `lock-runtime` in a PostgreSQL database, 14 or newer. Version 1.
--
-- The backend runs this by itself when its role may create a schema. Where it may not, run it
-- once as another role, and allow the service to use it and nothing else:
--
--     psql --single-transaction --file migration.sql
--     GRANT USAGE ON SCHEMA lock_runtime TO service;
--     GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA lock_runtime TO service;
--
-- For another schema replace `lock_runtime` everywhere. It may be run again; it takes nothing
-- away. Nobody needs rights on the tables: the functions run as the role that ran this, and what a
-- caller has set or made itself, such as a `search_path`, an operator or a type, changes nothing of
-- what they do.
--
-- How it works. Whatever happens to a lock happens in a function that first takes the advisory
-- lock of the name (`take`) and then looks: each statement of a function sees what was committed
-- before that statement began, so that nothing is decided by what it saw before it had the lock.
-- This needs READ COMMITTED, and `take` insists on it. All times are the server's, and are read
-- after the lock was taken. A name that is free has no row.

SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('lock_runtime migration', 0));

CREATE SCHEMA IF NOT EXISTS lock_runtime;
REVOKE ALL ON SCHEMA lock_runtime FROM PUBLIC;

-- Fencing tokens. A number that was drawn is never drawn again, not after a rollback and not
-- after a crash. They stay below 2^53, which JSON and Lua keep exact.
CREATE SEQUENCE IF NOT EXISTS lock_runtime.tokens AS bigint
    MINVALUE 1 MAXVALUE 9007199254740991 NO CYCLE CACHE 1;

-- The sections that run, and the rests that they leave behind (`at_least`).
CREATE TABLE IF NOT EXISTS lock_runtime.sections (
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    -- Number and secret of the owner, 48 hexadecimal digits. A rest has none: it begins with
    -- `rest `. A change of the owner is a change of the key, which `verify` depends on.
    owner text COLLATE "C" NOT NULL,
    -- 0 is exclusive, -1 is shared, more is so many permits.
    mode bigint NOT NULL,
    token bigint,
    since timestamptz NOT NULL,
    -- The end of the lease or of the rest. It is in no index: a renewal rewrites nothing else.
    ends timestamptz NOT NULL,
    -- Until when the name stays busy whatever becomes of the section.
    busy_until timestamptz,
    -- Where to tell its process that it was lost.
    channel text NOT NULL,
    -- Who the owner is, for people.
    info json NOT NULL,
    -- The number of the newest renewal: one that arrives late must not undo it.
    renewal bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (namespace, name, owner)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- Those who wait, first come, first served.
CREATE TABLE IF NOT EXISTS lock_runtime.waiters (
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    place bigint GENERATED ALWAYS AS IDENTITY,
    owner text COLLATE "C" NOT NULL UNIQUE,
    mode bigint NOT NULL,
    -- 0 without regard to callers, 1 as a caller, 2 as the caller it is assigned to.
    auth smallint NOT NULL,
    caller text COLLATE "C",
    since timestamptz NOT NULL,
    -- When it last showed itself.
    shown timestamptz NOT NULL,
    channel text NOT NULL,
    info json NOT NULL,
    -- When it asked last, by a clock of its own, which means nothing here and is told back to it
    -- when it is handed the name; none for one that is not to be handed anything.
    asked bigint,
    PRIMARY KEY (namespace, name, place)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- To which caller a lock is assigned.
CREATE TABLE IF NOT EXISTS lock_runtime.assignments (
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    holder text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL,
    -- `infinity` for one that does not end by itself.
    ends timestamptz NOT NULL,
    -- The length that the end came from, for the next holder.
    ttl interval,
    PRIMARY KEY (namespace, name)
);

-- Requests that must not take effect any more, should they arrive late: owners that gave up, and
-- changes that are done.
CREATE TABLE IF NOT EXISTS lock_runtime.tombstones (
    id text COLLATE "C" PRIMARY KEY,
    until timestamptz NOT NULL
);

-- Transactions that may only commit while a section is held. Rows are gone before the commit.
CREATE TABLE IF NOT EXISTS lock_runtime.verifications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL
);

-- When what ended by itself was last cleared away.
CREATE TABLE IF NOT EXISTS lock_runtime.sweeps (
    swept timestamptz NOT NULL
);
INSERT INTO lock_runtime.sweeps
    SELECT '-infinity' WHERE NOT EXISTS (SELECT FROM lock_runtime.sweeps);

-- The version of what is here.
CREATE OR REPLACE FUNCTION lock_runtime.version() RETURNS integer
    LANGUAGE sql IMMUTABLE AS 'SELECT 1';

--------------------------------------------------------------------------------------------------
-- The parts that the functions are made of. Each expects that the name was taken.
--
-- They have no settings of their own, but those of the function that calls them. Types after
-- DECLARE are looked up once in a session, by whoever is first: that may be a caller, on its own
-- account and with a `search_path` of its own. So they have their schema, or are words of SQL.

-- Fails where a section of the name is being verified, instead of waiting for that transaction: it
-- may be prepared and forgotten, and others wait for this one. It is to be asked again.
CREATE OR REPLACE FUNCTION lock_runtime.check_nobody_verifies(p_namespace text, p_name text)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM lock_runtime.sections s WHERE s.namespace = p_namespace AND s.name = p_name
        FOR UPDATE NOWAIT;
END $$;

CREATE OR REPLACE FUNCTION lock_runtime.key_of(p_namespace text, p_name text) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('lock_runtime ' || p_namespace || ' ' || p_name COLLATE "C", 0)
$$;

-- Waits until nobody else does anything with the name, up to the end of the transaction. Returns
-- the time. A transaction that has waited for so long has been given up by the process that sent
-- it, and must not take effect any more.
CREATE OR REPLACE FUNCTION lock_runtime.take(p_namespace text, p_name text) RETURNS timestamptz
    LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'locks are taken in transactions of the isolation level READ COMMITTED'
            USING ERRCODE = 'LR002';
    END IF;
    -- To try is an expression, which costs less than a statement, and is enough most of the time.
    IF NOT pg_try_advisory_xact_lock(lock_runtime.key_of(p_namespace, p_name)) THEN
        PERFORM pg_advisory_xact_lock(lock_runtime.key_of(p_namespace, p_name));
    END IF;
    IF clock_timestamp() > now() + interval '5 s' THEN
        RAISE EXCEPTION 'this transaction has taken more than 5 s, and nobody waits for it'
            USING ERRCODE = 'LR003';
    END IF;
    RETURN clock_timestamp();
END $$;

CREATE OR REPLACE FUNCTION lock_runtime.milliseconds(p_time interval) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_time IS NOT NULL
        THEN greatest(0, ceil(extract(epoch FROM p_time) * 1000))::bigint END
$$;

-- Whether a section of a mode could run beside those that do, which all have one mode.
CREATE OR REPLACE FUNCTION lock_runtime.fits(p_mode bigint, p_running bigint, p_running_mode bigint)
    RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT p_running = 0
        OR (p_mode <> 0 AND p_mode = p_running_mode AND (p_mode < 0 OR p_running < p_mode))
$$;

-- What a request may do by the caller that it comes from: 1 enter, 0 wait, -1 nothing.
CREATE OR REPLACE FUNCTION lock_runtime.standing(p_auth smallint, p_caller text, p_holder text)
    RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_holder IS NULL THEN CASE WHEN p_auth = 2 THEN -1 ELSE 1 END
        WHEN p_auth = 0 THEN 0
        WHEN p_caller = p_holder THEN 1
        ELSE -1
    END
$$;

-- A waiter that has not shown itself for so long is passed over.
CREATE OR REPLACE FUNCTION lock_runtime.silent_after() RETURNS interval
    LANGUAGE sql IMMUTABLE AS $$ SELECT interval '1500 ms' $$;

-- A name that was handed to a waiter stays handed for so long, unless its lease is renewed.
CREATE OR REPLACE FUNCTION lock_runtime.handed_for() RETURNS interval
    LANGUAGE sql IMMUTABLE AS $$ SELECT interval '1500 ms' $$;

-- So many are handed a name at once.
CREATE OR REPLACE FUNCTION lock_runtime.most_handed() RETURNS integer
    LANGUAGE sql IMMUTABLE AS $$ SELECT 16 $$;

-- Whether a waiter that showed itself at this time is alive. Where the clock went back, nobody
-- who is has shown itself later than now for long.
--
-- Not immutable: what it does is only stable, and PostgreSQL would then not merge it into the
-- query, but plan and run it for every waiter.
CREATE OR REPLACE FUNCTION lock_runtime.is_alive(p_shown timestamptz, p_now timestamptz)
    RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT p_shown > p_now - lock_runtime.silent_after()
        AND p_shown < p_now + lock_runtime.silent_after()
$$;

-- Ends what is due by now: sections become rests or go, and rests go. A section whose row is
-- locked by a transaction that verifies it stays until that has ended, and nobody waits for it.
-- Returns how many ended.
CREATE OR REPLACE FUNCTION lock_runtime.settle(p_namespace text, p_name text, p_now timestamptz)
    RETURNS bigint LANGUAGE sql AS $$
    WITH ended AS (
        DELETE FROM lock_runtime.sections s
        WHERE s.namespace = p_namespace AND s.name = p_name AND s.owner IN (
            SELECT due.owner FROM lock_runtime.sections due
            WHERE due.namespace = p_namespace AND due.name = p_name AND due.ends <= p_now
            FOR UPDATE SKIP LOCKED)
        RETURNING s.*
    ), rests AS (
        INSERT INTO lock_runtime.sections
        SELECT e.namespace, e.name, 'rest ' || left(e.owner, 16), e.mode, NULL, e.since,
            e.busy_until, NULL, '', e.info
        FROM ended e WHERE e.busy_until > p_now
    )
    SELECT count(*) FROM ended
$$;

-- Tells a process something about one of its owners: a word, its public number, and what else there
-- is to say. What is for the process that asks is left to the answer that it gets, and returned.
CREATE OR REPLACE FUNCTION lock_runtime.tell(
    p_asking text, p_channel text, p_what text, p_owner text, p_more text
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF p_channel = p_asking THEN
        RETURN left(p_owner, 16) || p_more;
    END IF;
    -- A process that cannot listen says so by a dash.
    IF p_channel <> '' AND left(p_channel, 1) <> '-' THEN
        PERFORM pg_notify(p_channel, p_what || ' ' || left(p_owner, 16) || p_more);
    END IF;
    RETURN NULL;
END $$;

-- Serves those who may enter now, first come, first served: the name is handed to them, or they are
-- woken to ask for it. Wakes those who may not enter any more, too. Returns what of that is for the
-- process that asks.
--
-- Whoever is handed the name is not known to have heard of it, and keeps it for a moment only, from
-- which its process has to renew it: not too many are served this way. What it is told says when it
-- had asked, so that a message which comes late is known for it: the owner may have lost the name
-- since, and stand in the queue again.
CREATE OR REPLACE FUNCTION lock_runtime.wake(
    p_namespace text, p_name text, p_now timestamptz, p_asking text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_running bigint;
    v_mode bigint;
    v_first_end pg_catalog.timestamptz;
    v_standing integer;
    v_token bigint;
    v_woken pg_catalog.text[] := '{}';
    v_handed pg_catalog.text[] := '{}';
    v_number integer := 0;
    v_waiter pg_catalog.record;
BEGIN
    FOR v_waiter IN
        SELECT w.owner, w.mode, w.auth, w.caller, w.channel, w.info, w.asked,
            w.asked IS NOT NULL AND left(w.channel, 1) <> '-' AS may_be_handed,
            EXISTS (SELECT FROM lock_runtime.sections s
                WHERE s.namespace = p_namespace AND s.name = p_name) AS is_busy,
            (SELECT a.holder FROM lock_runtime.assignments a
                WHERE a.namespace = p_namespace AND a.name = p_name AND a.ends > p_now) AS holder
        FROM lock_runtime.waiters w
        WHERE w.namespace = p_namespace AND w.name = p_name
            AND lock_runtime.is_alive(w.shown, p_now)
        ORDER BY w.place
    LOOP
        IF v_running IS NULL THEN
            v_running := 0;
            -- What is due and could not be ended, as it is being verified, is in the way too.
            FOR v_look IN 1..2 LOOP
                EXIT WHEN NOT v_waiter.is_busy;
                SELECT count(*), min(s.mode), min(s.ends) INTO v_running, v_mode, v_first_end
                    FROM lock_runtime.sections s
                    WHERE s.namespace = p_namespace AND s.name = p_name;
                EXIT WHEN v_look = 2 OR v_first_end IS NULL OR v_first_end > p_now;
                PERFORM lock_runtime.settle(p_namespace, p_name, p_now);
            END LOOP;
        END IF;
        v_standing := lock_runtime.standing(v_waiter.auth, v_waiter.caller, v_waiter.holder);
        CONTINUE WHEN v_standing = 0;
        IF v_standing > 0 THEN
            EXIT WHEN NOT lock_runtime.fits(v_waiter.mode, v_running, v_mode);
            v_running := v_running + 1;
            v_mode := v_waiter.mode;
            IF v_waiter.may_be_handed AND v_number < lock_runtime.most_handed() THEN
                v_number := v_number + 1;
                -- Its own section may still be there, over and being verified.
                INSERT INTO lock_runtime.sections
                SELECT p_namespace, p_name, v_waiter.owner, v_waiter.mode,
                    CASE WHEN v_waiter.mode = 0 THEN nextval('lock_runtime.tokens') END,
                    clock_timestamp(), clock_timestamp() + lock_runtime.handed_for(), NULL,
                    v_waiter.channel, v_waiter.info
                ON CONFLICT DO NOTHING
                RETURNING token INTO v_token;
                IF FOUND THEN
                    DELETE FROM lock_runtime.waiters w WHERE w.owner = v_waiter.owner;
                    v_handed := v_handed || lock_runtime.tell(
                        p_asking, v_waiter.channel, 'handed', v_waiter.owner,
                        ' ' || v_waiter.asked || ' ' || coalesce(v_token, 0));
                    CONTINUE;
                END IF;
            END IF;
        END IF;
        v_woken := v_woken
            || lock_runtime.tell(p_asking, v_waiter.channel, 'wake', v_waiter.owner, '');
    END LOOP;
    RETURN jsonb_build_object(
        'wake', array_remove(v_woken, NULL), 'handed', array_remove(v_handed, NULL));
END $$;

-- Whether a request that fits beside those who run fits beside those who came before it too.
-- `p_place` is its place in the queue; none is behind everybody.
CREATE OR REPLACE FUNCTION lock_runtime.is_next(
    p_namespace text, p_name text, p_now timestamptz, p_mode bigint, p_place bigint,
    p_running bigint, p_running_mode bigint, p_holder text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_waiter pg_catalog.record;
BEGIN
    FOR v_waiter IN
        SELECT w.mode FROM lock_runtime.waiters w
        WHERE w.namespace = p_namespace AND w.name = p_name
            AND (p_place IS NULL OR w.place < p_place)
            AND lock_runtime.is_alive(w.shown, p_now)
            AND lock_runtime.standing(w.auth, w.caller, p_holder) > 0
        ORDER BY w.place
    LOOP
        IF NOT lock_runtime.fits(v_waiter.mode, p_running, p_running_mode) THEN
            RETURN false;
        END IF;
        p_running := p_running + 1;
        p_running_mode := v_waiter.mode;
        IF NOT lock_runtime.fits(p_mode, p_running, p_running_mode) THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION lock_runtime.section_json(
    s lock_runtime.sections, p_now timestamptz
) RETURNS json LANGUAGE sql AS $$
    SELECT json_build_object(
        'info', s.info, 'mode', s.mode, 'token', s.token,
        'held_ms', lock_runtime.milliseconds(p_now - s.since),
        'ends_ms', lock_runtime.milliseconds(s.ends - p_now))
$$;

-- Who or what is in the way, and how many came first.
CREATE OR REPLACE FUNCTION lock_runtime.busy(
    p_namespace text, p_name text, p_now timestamptz, p_place bigint, p_holder text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_section lock_runtime.sections;
    v_rest pg_catalog.timestamptz;
    v_ahead bigint;
    v_first_end pg_catalog.timestamptz;
BEGIN
    SELECT s.* INTO v_section FROM lock_runtime.sections s
        WHERE s.namespace = p_namespace AND s.name = p_name AND s.ends > p_now
            AND s.owner NOT LIKE 'rest %'
        ORDER BY s.since LIMIT 1;
    SELECT max(s.ends) FILTER (WHERE s.owner LIKE 'rest %'), min(s.ends) INTO v_rest, v_first_end
        FROM lock_runtime.sections s
        WHERE s.namespace = p_namespace AND s.name = p_name AND s.ends > p_now;
    SELECT count(*) INTO v_ahead FROM lock_runtime.waiters w
        WHERE w.namespace = p_namespace AND w.name = p_name
            AND (p_place IS NULL OR w.place < p_place);
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'busy', jsonb_build_object(
            'section', CASE WHEN v_section.owner IS NOT NULL
                THEN lock_runtime.section_json(v_section, p_now) END,
            'resting_ms', lock_runtime.milliseconds(v_rest - p_now),
            'holder', p_holder),
        'ahead', v_ahead,
        'again_ms', lock_runtime.milliseconds(v_first_end - p_now)));
END $$;

--------------------------------------------------------------------------------------------------
-- Sections.

-- Grants a name to an owner, or gives it a place in the queue, or says who is in the way. The same
-- request again is the same request: who has the name gets the same grant, with a whole lease from
-- now on; who waits keeps its place and has shown itself.
--
-- `p_question` is `try` to leave nothing behind unless granted, `queue` to wait, and `last` to be
-- granted the name now or leave the queue. `p_asked` is the moment of the question by the clock of
-- who asks, if the name may be handed to it later; `p_place` the place in the queue that it had: it
-- was handed the name, and did not hear of that in time.
CREATE OR REPLACE FUNCTION lock_runtime.enter(
    p_namespace text, p_name text, p_owner text, p_mode bigint, p_ttl_ms bigint,
    p_at_least_ms bigint, p_question text, p_auth smallint, p_caller text, p_channel text,
    p_info json, p_asked bigint DEFAULT NULL, p_place bigint DEFAULT NULL
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    v_now timestamptz := lock_runtime.take(p_namespace, p_name);
    v_running bigint;
    v_running_mode bigint;
    v_first_end timestamptz;
    v_has boolean;
    v_had boolean;
    v_has_looked boolean;
    v_is_queue boolean;
    v_is_late boolean;
    v_may_enter boolean;
    v_token bigint;
    v_something_ended boolean;
    v_standing integer;
    v_holder text;
    v_place bigint;
    v_in_use bigint;
    v_answer jsonb;
BEGIN
    -- Nothing is known of most names, and who asks for one enters, in one statement. All others
    -- are looked at more closely.
    INSERT INTO lock_runtime.sections
    SELECT p_namespace, p_name, p_owner, p_mode,
        CASE WHEN p_mode = 0 THEN nextval('lock_runtime.tokens') END,
        clock_timestamp(), clock_timestamp() + p_ttl_ms * interval '1 ms',
        CASE WHEN p_at_least_ms > 0
            THEN clock_timestamp() + p_at_least_ms * interval '1 ms' END,
        p_channel, p_info
    WHERE lock_runtime.standing(p_auth, p_caller, NULL) > 0
        AND NOT EXISTS (SELECT FROM lock_runtime.sections s
            WHERE s.namespace = p_namespace AND s.name = p_name)
        AND NOT EXISTS (SELECT FROM lock_runtime.waiters w
            WHERE w.namespace = p_namespace AND w.name = p_name)
        AND NOT EXISTS (SELECT FROM lock_runtime.assignments a
            WHERE a.namespace = p_namespace AND a.name = p_name)
        AND NOT EXISTS (SELECT FROM lock_runtime.tombstones t WHERE t.id = p_owner)
    RETURNING token INTO v_token;
    IF FOUND THEN
        RETURN jsonb_build_object('granted', true, 'token', v_token);
    END IF;

    v_something_ended := false;
    v_has_looked := false;
    LOOP
        SELECT count(*), min(s.mode), min(s.ends),
            coalesce(bool_or(s.owner = p_owner AND s.ends > v_now), false),
            coalesce(bool_or(s.owner = p_owner AND s.ends <= v_now), false),
            max(s.token) FILTER (WHERE s.owner = p_owner),
            (SELECT a.holder FROM lock_runtime.assignments a
                WHERE a.namespace = p_namespace AND a.name = p_name AND a.ends > v_now),
            (SELECT w.place FROM lock_runtime.waiters w WHERE w.owner = p_owner),
            EXISTS (SELECT FROM lock_runtime.waiters w
                WHERE w.namespace = p_namespace AND w.name = p_name),
            EXISTS (SELECT FROM lock_runtime.tombstones t WHERE t.id = p_owner)
        INTO v_running, v_running_mode, v_first_end, v_has, v_had, v_token,
            v_holder, v_place, v_is_queue, v_is_late
        FROM lock_runtime.sections s WHERE s.namespace = p_namespace AND s.name = p_name;
        EXIT WHEN v_has_looked OR v_first_end IS NULL OR v_first_end > v_now;
        v_something_ended := lock_runtime.settle(p_namespace, p_name, v_now) > 0;
        EXIT WHEN NOT v_something_ended;
        v_has_looked := true;
    END LOOP;
    IF v_has THEN
        -- The answer before this one was lost. Whoever asks counts its lease from this question.
        UPDATE lock_runtime.sections s
            SET ends = greatest(s.ends, v_now + p_ttl_ms * interval '1 ms')
            WHERE s.namespace = p_namespace AND s.name = p_name AND s.owner = p_owner;
        RETURN jsonb_build_object('granted', true, 'token', v_token);
    END IF;
    IF v_is_late THEN
        RETURN '{"late": true}';
    END IF;
    v_standing := lock_runtime.standing(p_auth, p_caller, v_holder);
    IF v_standing < 0 THEN
        v_answer := jsonb_build_object('not_your_turn', true, 'holder', v_holder);
    ELSIF p_mode > 0 THEN
        SELECT used.mode INTO v_in_use FROM (
            SELECT s.mode FROM lock_runtime.sections s
                WHERE s.namespace = p_namespace AND s.name = p_name
            UNION ALL
            SELECT w.mode FROM lock_runtime.waiters w
                WHERE w.namespace = p_namespace AND w.name = p_name
                    AND lock_runtime.is_alive(w.shown, v_now)
        ) used WHERE used.mode > 0 AND used.mode <> p_mode LIMIT 1;
        IF v_in_use IS NOT NULL THEN
            v_answer := jsonb_build_object('conflict', v_in_use);
        END IF;
    END IF;

    -- Where nobody waits there is no queue to go through.
    v_may_enter := v_answer IS NULL AND v_standing > 0 AND NOT v_had
        AND lock_runtime.fits(p_mode, v_running, v_running_mode);
    IF v_may_enter AND v_is_queue THEN
        v_may_enter := lock_runtime.is_next(
            p_namespace, p_name, v_now, p_mode, v_place, v_running, v_running_mode, v_holder);
    END IF;
    IF v_may_enter THEN
        IF v_place IS NOT NULL THEN
            DELETE FROM lock_runtime.waiters w WHERE w.owner = p_owner;
        END IF;
        IF p_mode = 0 THEN
            v_token := nextval('lock_runtime.tokens');
        END IF;
        v_now := clock_timestamp();
        INSERT INTO lock_runtime.sections VALUES (
            p_namespace, p_name, p_owner, p_mode, v_token, v_now,
            v_now + p_ttl_ms * interval '1 ms',
            CASE WHEN p_at_least_ms > 0 THEN v_now + p_at_least_ms * interval '1 ms' END,
            p_channel, p_info);
        v_answer := jsonb_build_object('granted', true, 'token', v_token);
        -- Others of its kind may enter with it.
        IF v_something_ended AND v_is_queue AND p_mode <> 0 THEN
            v_answer := v_answer || lock_runtime.wake(p_namespace, p_name, v_now, p_channel);
        END IF;
        RETURN v_answer;
    END IF;

    IF v_answer IS NULL AND p_question = 'queue' THEN
        IF v_place IS NOT NULL THEN
            UPDATE lock_runtime.waiters w
                SET shown = v_now, channel = p_channel, asked = greatest(w.asked, p_asked)
                WHERE w.owner = p_owner;
        ELSE
            INSERT INTO lock_runtime.waiters
                (namespace, name, place, owner, mode, auth, caller, since, shown, channel, info,
                    asked)
            OVERRIDING SYSTEM VALUE
            SELECT p_namespace, p_name,
                coalesce(p_place, nextval('lock_runtime.waiters_place_seq')), p_owner, p_mode,
                p_auth, p_caller, v_now, v_now, p_channel, p_info, p_asked
            WHERE 65536 > (SELECT count(*) FROM lock_runtime.waiters w
                WHERE w.namespace = p_namespace AND w.name = p_name)
            RETURNING place INTO v_place;
            IF NOT FOUND THEN
                RETURN '{"full": 65536}';
            END IF;
        END IF;
        -- What should have ended and is still there is being verified, and nobody tells when it
        -- is not any more: who comes next looks again soon, and the others now and then.
        IF v_first_end <= v_now THEN
            v_first_end := CASE WHEN lock_runtime.is_next(
                    p_namespace, p_name, v_now, p_mode, v_place, 0, NULL, v_holder)
                THEN v_now + interval '20 ms' END;
        END IF;
        v_answer := jsonb_build_object(
            'busy', '{}'::jsonb, 'ahead', 0, 'place', v_place,
            'again_ms', lock_runtime.milliseconds(v_first_end - v_now));
        IF v_something_ended THEN
            v_answer := v_answer || lock_runtime.wake(p_namespace, p_name, v_now, p_channel);
        END IF;
        RETURN jsonb_strip_nulls(v_answer);
    END IF;

    IF v_answer IS NULL THEN
        v_answer := lock_runtime.busy(p_namespace, p_name, v_now, v_place, v_holder);
    END IF;
    IF v_place IS NOT NULL THEN
        DELETE FROM lock_runtime.waiters w WHERE w.owner = p_owner;
    END IF;
    IF v_place IS NOT NULL OR v_something_ended THEN
        v_answer := v_answer || lock_runtime.wake(p_namespace, p_name, v_now, p_channel);
    END IF;
    RETURN v_answer;
END $$;

-- Starts a lease anew. The renewals of an owner have rising numbers: one that arrives after a later
-- one changes nothing.
CREATE OR REPLACE FUNCTION lock_runtime.renew(
    p_namespace text, p_name text, p_owner text, p_ttl_ms bigint, p_number bigint
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    v_now timestamptz := lock_runtime.take(p_namespace, p_name);
BEGIN
    UPDATE lock_runtime.sections s
        SET ends = CASE WHEN s.renewal < p_number
                THEN v_now + p_ttl_ms * interval '1 ms' ELSE s.ends END,
            renewal = greatest(s.renewal, p_number)
        WHERE s.namespace = p_namespace AND s.name = p_name AND s.owner = p_owner
            AND s.ends > v_now;
    RETURN CASE WHEN FOUND THEN '{"held": true}'::jsonb ELSE '{"held": false}'::jsonb END;
END $$;

-- Ends what an owner has of a name: its section, or its place in the queue, and says whether it
-- still had that. `p_finished` says that the body has run, so that the name rests where that was
-- asked for, and that a place is not what the owner had; `p_tombstone` that a request of this owner
-- may still arrive, and must not take effect.
--
-- Nobody waits for a transaction that is verifying the section just now: the lease ends here, and
-- the row goes when that transaction has ended.
CREATE OR REPLACE FUNCTION lock_runtime.release(
    p_namespace text, p_name text, p_owner text, p_finished boolean, p_tombstone boolean,
    p_channel text
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    v_now timestamptz := lock_runtime.take(p_namespace, p_name);
    v_mode bigint;
    v_since timestamptz;
    v_ends timestamptz;
    v_busy_until timestamptz;
    v_info json;
    v_is_waited_for boolean;
    v_left boolean;
    v_held boolean;
    v_answer jsonb;
BEGIN
    -- Unless it is being verified.
    DELETE FROM lock_runtime.sections s
        WHERE s.ctid = (
            SELECT mine.ctid FROM lock_runtime.sections mine
            WHERE mine.namespace = p_namespace AND mine.name = p_name AND mine.owner = p_owner
            FOR UPDATE SKIP LOCKED)
        RETURNING s.mode, s.since, s.ends, s.busy_until, s.info,
            EXISTS (SELECT FROM lock_runtime.waiters w
                WHERE w.namespace = p_namespace AND w.name = p_name)
        INTO v_mode, v_since, v_ends, v_busy_until, v_info, v_is_waited_for;
    v_left := FOUND;
    -- Most sections leave nothing behind, and nobody has waited for them.
    IF v_left AND v_busy_until IS NULL AND NOT v_is_waited_for AND NOT p_tombstone THEN
        RETURN CASE WHEN v_ends > clock_timestamp()
            THEN '{"held": true}'::jsonb ELSE '{"held": false}'::jsonb END;
    END IF;

    IF NOT v_left THEN
        SELECT s.ends INTO v_ends FROM lock_runtime.sections s
            WHERE s.namespace = p_namespace AND s.name = p_name AND s.owner = p_owner;
    END IF;
    IF FOUND THEN
        v_now := clock_timestamp();
        v_held := v_ends > v_now;
        -- One whose lease was over had ended by itself, and rests whatever is said of it now.
        IF NOT v_left THEN
            UPDATE lock_runtime.sections s
                SET ends = least(s.ends, v_now),
                    busy_until = CASE WHEN p_finished OR NOT v_held THEN s.busy_until END
                WHERE s.namespace = p_namespace AND s.name = p_name AND s.owner = p_owner;
        ELSIF v_busy_until > v_now AND (p_finished OR NOT v_held) THEN
            INSERT INTO lock_runtime.sections VALUES (
                p_namespace, p_name, 'rest ' || left(p_owner, 16), v_mode, NULL, v_since,
                v_busy_until, NULL, '', v_info);
        END IF;
    ELSE
        DELETE FROM lock_runtime.waiters w WHERE w.owner = p_owner;
        v_left := FOUND;
        v_is_waited_for := true;
        v_held := v_left AND NOT p_finished;
    END IF;
    IF p_tombstone THEN
        INSERT INTO lock_runtime.tombstones VALUES (p_owner, v_now + interval '15 min')
            ON CONFLICT (id) DO UPDATE SET until = excluded.until;
    END IF;
    v_answer := jsonb_build_object('held', v_held);
    IF v_left AND v_is_waited_for THEN
        v_answer := v_answer || lock_runtime.wake(p_namespace, p_name, v_now, p_channel);
    END IF;
    RETURN v_answer;
END $$;

-- Goes on with the section of a giver under another owner. The token stays.
CREATE OR REPLACE FUNCTION lock_runtime.adopt(
    p_namespace text, p_name text, p_giver text, p_owner text, p_ttl_ms bigint, p_channel text,
    p_info json
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    v_now timestamptz := lock_runtime.take(p_namespace, p_name);
    v_section lock_runtime.sections;
    v_lost text;
BEGIN
    SELECT s.* INTO v_section FROM lock_runtime.sections s
        WHERE s.namespace = p_namespace AND s.name = p_name AND s.ends > v_now
            AND s.owner IN (p_giver, p_owner) LIMIT 1;
    IF NOT FOUND OR EXISTS (SELECT FROM lock_runtime.tombstones t WHERE t.id = p_owner) THEN
        RETURN jsonb_build_object('held', false);
    END IF;
    IF v_section.owner <> p_owner THEN
        PERFORM lock_runtime.check_nobody_verifies(p_namespace, p_name);
    END IF;
    UPDATE lock_runtime.sections s
        SET owner = p_owner, renewal = 0, ends = clock_timestamp() + p_ttl_ms * interval '1 ms',
            channel = p_channel, info = p_info
        WHERE s.namespace = p_namespace AND s.name = p_name AND s.owner = v_section.owner;
    IF v_section.owner <> p_owner THEN
        v_lost := lock_runtime.tell(p_channel, v_section.channel, 'adopted', p_giver, '');
    END IF;
    RETURN jsonb_build_object('held', true, 'token', v_section.token, 'adopted', v_lost);
END $$;

-- Ends every section of a name, and its rest, whoever has it. Says how many ended.
CREATE OR REPLACE FUNCTION lock_runtime.force_release(
    p_namespace text, p_name text, p_channel text
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    v_now timestamptz := lock_runtime.take(p_namespace, p_name);
    v_section record;
    v_ended bigint := 0;
    v_forced text[] := '{}';
BEGIN
    PERFORM lock_runtime.check_nobody_verifies(p_namespace, p_name);
    FOR v_section IN
        DELETE FROM lock_runtime.sections s
            WHERE s.namespace = p_namespace AND s.name = p_name
            RETURNING s.owner, s.channel, s.ends
    LOOP
        CONTINUE WHEN v_section.owner LIKE 'rest %' OR v_section.ends <= v_now;
        v_ended := v_ended + 1;
        v_forced := v_forced
            || lock_runtime.tell(p_channel, v_section.channel, 'forced', v_section.owner, '');
    END LOOP;
    RETURN jsonb_build_object(
        'ended', v_ended, 'forced', array_remove(v_forced, NULL))
        || lock_runtime.wake(p_namespace, p_name, clock_timestamp(), p_channel);
END $$;

--------------------------------------------------------------------------------------------------
-- Assignments.

-- Changes to whom a lock is assigned: `p_kind` is `assign`, `transfer` or `unassign`; `p_word` is
-- on whose word: a `caller`, who must not be passed over; a `holder`, who must be the one; or an
-- `operator`. `p_within` is the section that it is done from. The same attempt again is done.
-- `p_again` says that the attempt was made before and may still arrive: it must not be done after
-- it was refused here.
CREATE OR REPLACE FUNCTION lock_runtime.change(
    p_namespace text, p_name text, p_kind text, p_to text, p_ttl_ms bigint, p_word text,
    p_giver text, p_within text, p_attempt text, p_again boolean, p_channel text
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    v_now timestamptz := lock_runtime.take(p_namespace, p_name);
    v_old lock_runtime.assignments;
    v_ttl interval;
    v_is_allowed boolean;
BEGIN
    IF EXISTS (SELECT FROM lock_runtime.tombstones t WHERE t.id = p_attempt) THEN
        RETURN '{"done": true}';
    END IF;
    IF p_within IS NOT NULL AND NOT EXISTS (
        SELECT FROM lock_runtime.sections s
        WHERE s.namespace = p_namespace AND s.name = p_name AND s.owner = p_within
            AND s.ends > v_now)
    THEN
        RETURN '{"section_lost": true}';
    END IF;
    SELECT a.* INTO v_old FROM lock_runtime.assignments a
        WHERE a.namespace = p_namespace AND a.name = p_name AND a.ends > v_now;
    v_is_allowed := CASE
        WHEN p_word = 'operator' THEN true
        WHEN p_kind = 'assign' THEN v_old.holder IS NULL OR v_old.holder = p_to
        WHEN p_kind = 'unassign' AND v_old.holder IS NULL THEN true
        WHEN p_word = 'holder' THEN v_old.holder IS NOT DISTINCT FROM p_giver
        ELSE v_old.holder IS NULL OR v_old.holder = p_giver
    END;
    IF EXISTS (SELECT FROM lock_runtime.tombstones t WHERE t.id = 'refused ' || p_attempt) THEN
        v_is_allowed := false;
    END IF;
    IF NOT v_is_allowed THEN
        IF p_again THEN
            INSERT INTO lock_runtime.tombstones
                VALUES ('refused ' || p_attempt, v_now + interval '15 min')
                ON CONFLICT (id) DO NOTHING;
        END IF;
        RETURN jsonb_build_object('not_your_turn', true, 'holder', v_old.holder);
    END IF;
    IF p_kind = 'unassign' THEN
        DELETE FROM lock_runtime.assignments a
            WHERE a.namespace = p_namespace AND a.name = p_name;
    ELSE
        -- A turn that had a time keeps having one when it is handed on.
        v_ttl := CASE
            WHEN p_kind = 'transfer' THEN v_old.ttl
            ELSE p_ttl_ms * interval '1 ms'
        END;
        INSERT INTO lock_runtime.assignments VALUES (
            p_namespace, p_name, p_to,
            CASE WHEN p_kind = 'assign' AND v_old.holder = p_to THEN v_old.since ELSE v_now END,
            coalesce(v_now + v_ttl, 'infinity'), v_ttl)
        ON CONFLICT (namespace, name) DO UPDATE SET
            holder = excluded.holder, since = excluded.since, ends = excluded.ends,
            ttl = excluded.ttl;
    END IF;
    INSERT INTO lock_runtime.tombstones VALUES (p_attempt, v_now + interval '1 min')
        ON CONFLICT (id) DO NOTHING;
    RETURN jsonb_build_object(
        'done', true,
        'wake', lock_runtime.wake_all(p_namespace, p_name, v_now, p_channel));
END $$;

-- Wakes everybody who waits: who may enter has changed.
CREATE OR REPLACE FUNCTION lock_runtime.wake_all(
    p_namespace text, p_name text, p_now timestamptz, p_asking text
) RETURNS text[] LANGUAGE sql AS $$
    SELECT coalesce(array_remove(array_agg(
        lock_runtime.tell(p_asking, w.channel, 'wake', w.owner, '')), NULL), '{}')
    FROM lock_runtime.waiters w
    WHERE w.namespace = p_namespace AND w.name = p_name
        AND lock_runtime.is_alive(w.shown, p_now)
$$;

--------------------------------------------------------------------------------------------------
-- Looking.

-- What is known of a lock, with the first 32 of those who wait when `p_queue` says so.
CREATE OR REPLACE FUNCTION lock_runtime.inspect(p_namespace text, p_name text, p_queue boolean)
    RETURNS jsonb LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH n AS MATERIALIZED (SELECT clock_timestamp() AS moment)
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'name', p_name,
        'sections', coalesce((
            SELECT json_agg(lock_runtime.section_json(s, n.moment) ORDER BY s.since)
            FROM lock_runtime.sections s
            WHERE s.namespace = p_namespace AND s.name = p_name AND s.ends > n.moment
                AND s.owner NOT LIKE 'rest %'), '[]'),
        -- A rest, or what a section that ended by itself leaves behind.
        'resting_ms', (
            SELECT lock_runtime.milliseconds(max(
                CASE WHEN s.ends > n.moment THEN s.ends ELSE s.busy_until END) - n.moment)
            FROM lock_runtime.sections s
            WHERE s.namespace = p_namespace AND s.name = p_name
                AND (s.owner LIKE 'rest %' OR s.ends <= n.moment)
                AND greatest(s.ends, s.busy_until) > n.moment),
        'waiting', (
            SELECT count(*) FROM lock_runtime.waiters w
            WHERE w.namespace = p_namespace AND w.name = p_name),
        'queue', CASE WHEN p_queue THEN (
            SELECT json_agg(json_build_object(
                'info', w.info, 'mode', w.mode,
                'waited_ms', lock_runtime.milliseconds(n.moment - w.since)) ORDER BY w.place)
            FROM (
                SELECT * FROM lock_runtime.waiters
                WHERE namespace = p_namespace AND name = p_name ORDER BY place LIMIT 32
            ) w) END,
        'holder', a.holder,
        'acquired_at_ms', floor(extract(epoch FROM a.since) * 1000)::bigint,
        'expires_at_ms', CASE WHEN a.ends < 'infinity' THEN
            ceil(extract(epoch FROM a.ends) * 1000)::bigint END))
    FROM n LEFT JOIN lock_runtime.assignments a
        ON a.namespace = p_namespace AND a.name = p_name AND a.ends > n.moment
$$;

-- The locks of a namespace whose names begin with a prefix, by name; a page of them at a time.
CREATE OR REPLACE FUNCTION lock_runtime.list(
    p_namespace text, p_prefix text, p_after text, p_limit bigint
) RETURNS jsonb LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(page.lock ORDER BY page.name), '[]') FROM (
        SELECT known.name, lock_runtime.inspect(p_namespace, known.name, false) AS lock FROM (
            SELECT s.name FROM lock_runtime.sections s
                WHERE greatest(s.ends, s.busy_until) > clock_timestamp()
                    AND s.namespace = p_namespace AND s.name >= p_prefix
                    AND starts_with(s.name, p_prefix) AND s.name > p_after
            UNION
            SELECT w.name FROM lock_runtime.waiters w
                WHERE w.namespace = p_namespace AND w.name >= p_prefix
                    AND starts_with(w.name, p_prefix) AND w.name > p_after
            UNION
            SELECT a.name FROM lock_runtime.assignments a
                WHERE a.ends > clock_timestamp()
                    AND a.namespace = p_namespace AND a.name >= p_prefix
                    AND starts_with(a.name, p_prefix) AND a.name > p_after
            ORDER BY name LIMIT p_limit
        ) known
    ) page
$$;

--------------------------------------------------------------------------------------------------
-- Clearing away what ended by itself, where nobody asks for it any more. Every process calls this
-- now and then; one in ten seconds does something.
CREATE OR REPLACE FUNCTION lock_runtime.sweep() RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_lock record;
    v_names bigint := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('lock_runtime sweep', 0))
        OR (SELECT max(swept) FROM lock_runtime.sweeps)
            BETWEEN v_now - interval '10 s' AND v_now
    THEN
        RETURN '{}';
    END IF;
    UPDATE lock_runtime.sweeps SET swept = v_now;
    DELETE FROM lock_runtime.tombstones t WHERE t.id IN (
        SELECT old.id FROM lock_runtime.tombstones old WHERE old.until < v_now
        FOR UPDATE SKIP LOCKED);
    -- So many at a time that the server's table of advisory locks has room for them.
    FOR v_lock IN
        SELECT s.namespace, s.name FROM lock_runtime.sections s
            WHERE greatest(s.ends, s.busy_until) <= v_now
        UNION
        SELECT w.namespace, w.name FROM lock_runtime.waiters w
            WHERE w.shown NOT BETWEEN v_now - interval '60 s' AND v_now + interval '60 s'
        UNION
        SELECT a.namespace, a.name FROM lock_runtime.assignments a WHERE a.ends <= v_now
        LIMIT 500
    LOOP
        -- Somebody else looks at it just now, and ends what has to end.
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(
            lock_runtime.key_of(v_lock.namespace, v_lock.name));
        v_names := v_names + 1;
        v_now := clock_timestamp();
        PERFORM lock_runtime.settle(v_lock.namespace, v_lock.name, v_now);
        DELETE FROM lock_runtime.waiters w
            WHERE w.namespace = v_lock.namespace AND w.name = v_lock.name
                AND w.shown NOT BETWEEN v_now - interval '60 s' AND v_now + interval '60 s';
        DELETE FROM lock_runtime.assignments a
            WHERE a.namespace = v_lock.namespace AND a.name = v_lock.name AND a.ends <= v_now;
        PERFORM lock_runtime.wake(v_lock.namespace, v_lock.name, v_now, '');
    END LOOP;
    RETURN jsonb_build_object('names', v_names);
END $$;

--------------------------------------------------------------------------------------------------
-- A transaction that may only commit while a section is held.
--
-- `verify` notes the section down; a deferred constraint trigger checks it at commit, when the
-- transaction has done everything else, and takes the row of the section FOR KEY SHARE until the
-- commit is through. That keeps two things apart:
--
-- * A renewal changes the end of the lease and no key. It neither waits for this lock nor breaks
--   it, at any isolation level.
-- * Whoever ends the section (a release, a forced one, whoever comes after its lease) deletes the
--   row, and who adopts it changes its key. They wait for the commit if it came first. If they
--   came first, a transaction under READ COMMITTED finds no row, and one under REPEATABLE READ or
--   SERIALIZABLE fails to lock the row that its snapshot shows (40001): both are refused.
--
-- So from the check on nobody is granted the name before the transaction has committed, and
-- nobody was granted it before the check: a name is granted only after the row is gone.
--
-- Under READ COMMITTED the end of the lease is checked too. Under the others the snapshot may show
-- an end from before the last renewals, and says nothing; it is not needed for what was just said.
-- A section that was granted after the snapshot is not in it, and is refused: the transaction has
-- to begin inside the section.
CREATE OR REPLACE FUNCTION lock_runtime.verify(p_namespace text, p_name text, p_owner text)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO lock_runtime.verifications (namespace, name, owner)
        VALUES (p_namespace, p_name, p_owner);
END $$;

CREATE OR REPLACE FUNCTION lock_runtime.verify_at_commit()
    RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_isolation text := current_setting('transaction_isolation');
    v_is_fresh boolean := v_isolation IN ('read committed', 'read uncommitted');
    v_ends timestamptz;
BEGIN
    DELETE FROM lock_runtime.verifications v WHERE v.id = NEW.id;
    -- By the owner's public number. An exact owner has one row; its secret is not known here.
    SELECT s.ends INTO v_ends FROM lock_runtime.sections s
        WHERE s.namespace = NEW.namespace AND s.name = NEW.name AND left(s.owner, 16) = NEW.owner
        FOR KEY SHARE;
    IF NOT FOUND OR (v_is_fresh AND v_ends <= clock_timestamp()) THEN
        RAISE EXCEPTION 'Lock lost: % (the transaction does not commit)', NEW.name
            USING ERRCODE = 'LR001', HINT = CASE WHEN v_is_fresh THEN
                'The section ended before the transaction.'
            ELSE
                'The section ended before the transaction, or began after its snapshot: under '
                || upper(v_isolation) || ' the transaction has to begin inside the section.'
            END;
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS verify_at_commit ON lock_runtime.verifications;
CREATE CONSTRAINT TRIGGER verify_at_commit AFTER INSERT ON lock_runtime.verifications
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lock_runtime.verify_at_commit();
-- Also where `session_replication_role` keeps other triggers from being run.
ALTER TABLE lock_runtime.verifications ENABLE ALWAYS TRIGGER verify_at_commit;

REVOKE ALL ON ALL TABLES IN SCHEMA lock_runtime FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA lock_runtime FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA lock_runtime FROM PUBLIC;
