-- Operating: what one process measures for everybody (docs/operate.md, "Watch"), and the sandbox's clock (docs/client.md).
--
-- Gives          the measurer's functions and its reading rights, POST /v1/sandbox/clock
-- Locks          the two tables of timers, for an instant: they get a policy
-- Old processes  may run: none knows any of it

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

-- How many retries wait for each stage, counted up to a limit, as outbox.in_hands counts what is being worked on. A function
-- for its settings: whoever is not a stage would read the whole table to count its half, when there are most of them.
CREATE FUNCTION outbox.retries(stages text[], at_most integer) RETURNS TABLE (stage text, waiting bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    FOREACH stage IN ARRAY stages LOOP
        EXECUTE 'SELECT count(*) FROM (SELECT FROM outbox.timer t WHERE t.stage = $1 LIMIT $2) few' INTO waiting USING stage, at_most;
        RETURN NEXT;
    END LOOP;
END $$;

-- Definer's rights: the owner may see other roles' sessions (schemas/roles.sql), the measurer sees this one number. Null when
-- the owner may not: better no series than one that is always young. A VACUUM holds nobody back; a session of another database
-- does not either. A slot tells no time of its horizon, but since when nobody has moved it.
CREATE FUNCTION outbox.horizon_seconds() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE')
                THEN coalesce(greatest(0, extract(epoch FROM clock_timestamp() - min(h.since))), 0)::double precision END
    FROM (SELECT a.xact_start AS since FROM pg_stat_activity a
          WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
            AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
            AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
          UNION ALL
          SELECT p.prepared FROM pg_prepared_xacts p WHERE p.database = current_database()
          UNION ALL
          SELECT s.inactive_since FROM pg_replication_slots s WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL) h
$$;

-- ------------------------------------------------------------------ the sandbox
-- The one door to the demo clock, for the gateway and for the operator's verb: adds seconds and answers the new time of the law;
-- null when the clock would be further ahead than the certificates of an embedded installation live.
-- Definer's rights, because the right to write the row would be the right to write any time into it. No process may write
-- qerds.installation, so in any other installation this refuses whoever calls it. In seconds: a day in an interval is longer
-- when clocks change. Two calls at once add up.
CREATE FUNCTION qerds.advance_legal_clock(seconds float8) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    furthest CONSTANT interval := interval '3650 days';
BEGIN
    IF NOT EXISTS (SELECT FROM qerds.installation i WHERE i.embedded) THEN
        RAISE EXCEPTION 'the demo clock exists in an embedded installation only';
    END IF;
    IF seconds IS NULL OR NOT seconds > 0 THEN
        RAISE EXCEPTION 'the demo clock only moves forward';
    END IF;
    IF seconds > extract(epoch FROM furthest) THEN
        RETURN NULL;
    END IF;
    INSERT INTO qerds.legal_clock AS c (ahead) VALUES (make_interval(secs => seconds))
    ON CONFLICT (one) DO UPDATE SET ahead = c.ahead + excluded.ahead, changed_at = clock_timestamp()
    WHERE c.ahead + excluded.ahead <= furthest;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN qerds.legal_now();
END $$;

-- ------------------------------------------------------------------ who may do what
REVOKE ALL ON FUNCTION outbox.depths(text[], integer), outbox.in_hands(text[], integer), outbox.retries(text[], integer),
    outbox.horizon_seconds(), qerds.advance_legal_clock(float8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.depths(text[], integer), outbox.in_hands(text[], integer), outbox.retries(text[], integer)
    TO qerds_operate;
GRANT EXECUTE ON FUNCTION qerds.advance_legal_clock(float8) TO qerds_gateway, qerds_operate;

-- ops: looks, and changes nothing; the columns that it counts by, and nothing of anybody
GRANT EXECUTE ON FUNCTION outbox.depths(text[], integer), outbox.in_hands(text[], integer), outbox.horizon_seconds() TO qerds_ops;
GRANT SELECT (scope, subject, resumed_at) ON outbox.pause TO qerds_ops;
GRANT SELECT (id, stage, why, died_at) ON outbox.dead TO qerds_ops;
GRANT SELECT (stage, due_at, id) ON outbox.timer, outbox.legal_timer TO qerds_ops;
GRANT SELECT (id, lane, state, submitted_at) ON qerds.delivery TO qerds_ops;
GRANT SELECT (delivery, last_day) ON qerds.acceptance_window TO qerds_ops;
GRANT SELECT (delivery, event) ON qerds.evidence TO qerds_ops;
GRANT SELECT (evidence, gen_time) ON qerds.evidence_token TO qerds_ops;
GRANT SELECT (sequence, type, sender, delivery, evidence, sequenced_at) ON qerds.event TO qerds_ops;
GRANT SELECT (id, sender, enabled, failures, paused_until, read_through) ON qerds.webhook TO qerds_ops;
GRANT SELECT (webhook, first_at) ON qerds.webhook_retry TO qerds_ops;
CREATE POLICY watch_timer ON outbox.timer       FOR SELECT TO qerds_ops USING (true);
CREATE POLICY watch_timer ON outbox.legal_timer FOR SELECT TO qerds_ops USING (true);
