-- What an operator holds back, and what one process measures for everybody. See docs/operate.md.

-- One row per pause, kept when it is over: who asks later why a letter waited finds the reason. A suspended sender is a
-- paused one.
CREATE TABLE outbox.pause (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope      text        NOT NULL CHECK (scope IN ('stage', 'sender', 'batch', 'intake')),
    subject    text        NOT NULL CHECK (length(subject) <= 64),   -- stage name, sender id or batch id; '' for the intake
    reason     text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),
    resumed_at timestamptz,
    CHECK ((scope = 'intake') = (subject = ''))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX pause_in_force ON outbox.pause (scope, subject) WHERE resumed_at IS NULL;

-- Whether this is held back now. Definer's rights: whoever asks needs to see no reason and no other subject.
CREATE FUNCTION outbox.is_paused(wanted_scope text, wanted_subject text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT EXISTS (SELECT FROM outbox.pause p
                   WHERE p.scope = wanted_scope AND p.subject = wanted_subject AND p.resumed_at IS NULL)
$$;

-- ------------------------------------------------------------------ senders
ALTER TABLE qerds.sender
    ADD COLUMN identity_valid_until timestamptz,               -- legal time; null: no end was agreed
    ADD COLUMN window_until         timestamptz;               -- legal time; null: it may submit at any time

-- Why a sender may not submit now: a problem code of the API, null when it may.
CREATE FUNCTION qerds.sender_bar(wanted uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT CASE WHEN outbox.is_paused('intake', '') THEN 'unavailable'
                WHEN outbox.is_paused('sender', s.id::text) THEN 'sender_suspended'
                WHEN s.identity_valid_until <= legal.now THEN 'sender_identity_expired'
                WHEN s.window_until <= legal.now THEN 'sealing_window_closed' END
    FROM qerds.sender s, (SELECT qerds.legal_now() AS now) legal WHERE s.id = wanted
$$;

-- ------------------------------------------------------------------ measures
-- How many messages wait per stage and lane, and since when the first one does. Counted up to `exact`; from there on it is
-- the span of their ids, which is not less, and costs two looks at the index however many there are.
CREATE FUNCTION outbox.depths(stages text[], exact integer)
RETURNS TABLE (stage text, lane smallint, ready bigint, oldest_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    lowest  bigint;
    highest bigint;
BEGIN
    FOREACH stage IN ARRAY stages LOOP
        FOREACH lane IN ARRAY ARRAY[0, 1, 2, 3]::smallint[] LOOP
            EXECUTE format('SELECT m.id, m.enqueued_at FROM outbox.%I m WHERE m.lane = $1 ORDER BY m.id LIMIT 1', stage)
                INTO lowest, oldest_at USING lane;
            ready := 0;
            IF lowest IS NOT NULL THEN
                EXECUTE format('SELECT count(*) FROM (SELECT FROM outbox.%I m WHERE m.lane = $1 LIMIT $2) few', stage)
                    INTO ready USING lane, exact;
            END IF;
            IF ready >= exact THEN
                EXECUTE format('SELECT m.id FROM outbox.%I m WHERE m.lane = $1 ORDER BY m.id DESC LIMIT 1', stage)
                    INTO highest USING lane;
                ready := greatest(ready, highest - lowest + 1);
            END IF;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;

-- How many messages each stage has in its hands.
CREATE FUNCTION outbox.in_hands(stages text[], at_most integer) RETURNS TABLE (stage text, running bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    FOREACH stage IN ARRAY stages LOOP
        EXECUTE format('SELECT count(*) FROM (SELECT FROM outbox.%I LIMIT $1) few', stage || '_running') INTO running USING at_most;
        RETURN NEXT;
    END LOOP;
END $$;

-- Who is owed something next, and since when? A letter leaves this index when nothing more is owed to anybody by a day.
CREATE INDEX delivery_with_a_duty ON qerds.delivery (state, submitted_at) WHERE state IN ('submitted', 'deposited', 'notified');

-- ------------------------------------------------------------------ who may do what
REVOKE ALL ON FUNCTION outbox.is_paused(text, text), qerds.sender_bar(uuid), outbox.depths(text[], integer),
    outbox.in_hands(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.is_paused(text, text) TO qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp,
    qerds_notify, qerds_expire, qerds_archive, qerds_webhook;
GRANT EXECUTE ON FUNCTION qerds.sender_bar(uuid) TO qerds_gateway;

-- operate: holds back and lets go, keeps senders' keys and times
GRANT SELECT, INSERT (scope, subject, reason), UPDATE (resumed_at) ON outbox.pause TO qerds_operate;
GRANT UPDATE (identity_valid_until, window_until) ON qerds.sender TO qerds_operate;
GRANT UPDATE (secret_sha256, public_jwk, revoked_at) ON qerds.sender_client TO qerds_operate;
GRANT EXECUTE ON FUNCTION outbox.depths(text[], integer), outbox.in_hands(text[], integer), outbox.is_paused(text, text) TO qerds_operate;

-- ops: looks, and changes nothing
GRANT USAGE ON SCHEMA qerds, outbox TO qerds_ops;
GRANT EXECUTE ON FUNCTION outbox.depths(text[], integer), outbox.in_hands(text[], integer), qerds.legal_now() TO qerds_ops;
GRANT SELECT (scope, subject, resumed_at) ON outbox.pause TO qerds_ops;
GRANT SELECT (id, stage, why, died_at) ON outbox.dead TO qerds_ops;
GRANT SELECT (stage, due_at, id) ON outbox.timer, outbox.legal_timer TO qerds_ops;
GRANT SELECT (id, state, submitted_at) ON qerds.delivery TO qerds_ops;
GRANT SELECT (delivery, last_day) ON qerds.acceptance_window TO qerds_ops;
GRANT SELECT (delivery, event) ON qerds.evidence TO qerds_ops;
CREATE POLICY watch_timer ON outbox.timer       FOR SELECT TO qerds_ops USING (true);
CREATE POLICY watch_timer ON outbox.legal_timer FOR SELECT TO qerds_ops USING (true);
