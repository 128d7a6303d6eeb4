-- Published keys and documents count only as the pinned authority states them: a row that somebody wrote into the database is
-- as if it were not there.
--
-- Gives          qerds.published_statement, for readers of published keys; outbox.grant_stage() that grants it to new stages
-- Locks          nothing that anybody uses
-- Old processes  may run: they do not look at statements. New ones wait until a new bridge has started, and that one wants the
--                key that states: run the key ceremony first

CREATE TABLE qerds.published_statement (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body      bytea       NOT NULL CHECK (octet_length(body) BETWEEN 1 AND 524288),
    stated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.published_statement IS
    'What the pinned authority states of all published keys and documents, signed; the newest that holds counts. Inserts: bridge.';

GRANT SELECT ON qerds.published_statement TO qerds_gateway, qerds_bridge, qerds_events, qerds_operate;
GRANT INSERT (body) ON qerds.published_statement TO qerds_bridge;

CREATE OR REPLACE FUNCTION outbox.grant_stage(stage text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    role CONSTANT text := 'qerds_' || stage;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA qerds, outbox TO %I', role);
    EXECUTE format('GRANT SELECT ON qerds.installation, qerds.legal_clock, qerds.published_key, qerds.published_document, '
                   'qerds.published_statement TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION qerds.legal_now(), outbox.is_paused(text, text) TO %I', role);
    EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (attempts) ON outbox.%I, outbox.%I, outbox.timer, outbox.legal_timer TO %I',
                   stage, stage || '_running', role);
    EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (seen_at) ON outbox.process TO %I', role);
    EXECUTE format('GRANT INSERT ON outbox.dead TO %I', role);
    EXECUTE format('GRANT SELECT ON outbox.%I, outbox.%I TO qerds_operate', stage, stage || '_running');
    EXECUTE format('GRANT INSERT ON outbox.%I TO qerds_operate', stage);
END $$;

DO $$
DECLARE
    stage text;
BEGIN
    FOREACH stage IN ARRAY ARRAY['ingest', 'encrypt', 'seal', 'timestamp', 'notify', 'expire', 'archive', 'webhook'] LOOP
        EXECUTE format('GRANT SELECT ON qerds.published_statement TO %I', 'qerds_' || stage);
    END LOOP;
END $$;
