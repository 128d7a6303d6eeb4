-- Bulk submission: a batch is opened, its lines are stored part by part, it is submitted once, and `ingest` draws its
-- lines in order. The batch row is the one that changes; its cursor moves only together with what the lines became.

CREATE TABLE qerds.batch (
    id           uuid PRIMARY KEY,
    sender       uuid        NOT NULL REFERENCES qerds.sender,
    name         text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    format       text        NOT NULL CHECK (format IN ('ndjson', 'csv')),
    csv_mapping  jsonb       NOT NULL DEFAULT '{}',            -- column -> field path
    defaults     jsonb       NOT NULL DEFAULT '{}',            -- merged under every line
    state        text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'submitted', 'processing', 'completed',
                                                                      'completed_with_errors', 'failed', 'cancelled')),
    parts        integer     NOT NULL DEFAULT 0,               -- fixed at submit
    lines        integer     NOT NULL DEFAULT 0 CHECK (lines <= 1000000),
    drawn_part   integer     NOT NULL DEFAULT 0,               -- the cursor: the last line that was drawn
    drawn_line   integer     NOT NULL DEFAULT 0,
    accepted     integer     NOT NULL DEFAULT 0,               -- drawn lines that are deliveries, replayed ones included
    rejected     integer     NOT NULL DEFAULT 0,               -- drawn lines that are none
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL,                         -- an unsubmitted one
    submitted_at timestamptz,
    completed_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX batch_by_sender ON qerds.batch (sender, id);

CREATE TABLE qerds.batch_part (
    batch      uuid        NOT NULL REFERENCES qerds.batch,
    part       integer     NOT NULL CHECK (part BETWEEN 1 AND 100000),
    intake     uuid        NOT NULL UNIQUE,                    -- under which its lines are stored
    sha256     bytea       NOT NULL CHECK (length(sha256) = 32),
    bytes      bigint      NOT NULL,
    lines      integer     NOT NULL CHECK (lines >= 1),
    first_line integer     NOT NULL DEFAULT 0,                 -- lines of the parts before it; set at submit
    stored_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (batch, part)
);

-- A body on its way in: its lines are committed a few thousand at a time, so that a slow client holds no transaction.
-- They become a part when the body was whole (the row goes, the part is there), and are deleted when it was not.
CREATE TABLE qerds.batch_intake (
    intake   uuid PRIMARY KEY,
    batch    uuid        NOT NULL REFERENCES qerds.batch,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A line is one JSON object as the sender wrote it (CSV is mapped when it comes in). Removed by the draw that judges it.
-- No foreign key: only a part makes lines count, and a check per line would cost more than the line.
CREATE TABLE qerds.batch_line (
    intake uuid    NOT NULL,
    line   integer NOT NULL CHECK (line >= 1),                 -- within the part
    body   bytea   NOT NULL CHECK (length(body) <= 65536),
    PRIMARY KEY (intake, line)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

-- What became of a drawn line.
CREATE TABLE qerds.batch_result (
    batch      uuid    NOT NULL REFERENCES qerds.batch,
    part       integer NOT NULL,
    line       integer NOT NULL,
    client_ref text,
    delivery   uuid    REFERENCES qerds.delivery,              -- null: rejected, see problem
    replayed   boolean NOT NULL DEFAULT false,                 -- the delivery existed before this line
    problem    jsonb,
    PRIMARY KEY (batch, part, line),
    CHECK ((delivery IS NULL) = (problem IS NOT NULL))
);
CREATE INDEX batch_result_replayed ON qerds.batch_result (batch) WHERE replayed;   -- their states are counted apart

ALTER TABLE qerds.delivery ADD COLUMN batch uuid REFERENCES qerds.batch;
CREATE INDEX delivery_by_batch ON qerds.delivery (batch, state) WHERE batch IS NOT NULL;   -- counts by state

-- How many messages wait in some mailboxes, at most so many: all that back-pressure has to know. Definer's rights, so
-- that whoever asks needs to see no message.
CREATE FUNCTION outbox.backlog(stages text[], lanes smallint[], at_most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    stage text;
    found integer := 0;
    here  integer;
BEGIN
    FOREACH stage IN ARRAY stages LOOP
        EXIT WHEN found >= at_most;
        EXECUTE format('SELECT count(*) FROM (SELECT FROM outbox.%I m WHERE m.lane = ANY ($1) LIMIT $2) few', stage)
            INTO here USING lanes, at_most - found;
        found := found + here;
    END LOOP;
    RETURN found;
END $$;
REVOKE ALL ON FUNCTION outbox.backlog(text[], smallint[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.backlog(text[], smallint[], integer) TO qerds_gateway, qerds_ingest;

-- The gateway takes lines in and decides what is open; it moves no cursor and writes no result.
GRANT SELECT, INSERT (id, sender, name, format, csv_mapping, defaults, expires_at), UPDATE (state, parts, lines, submitted_at, completed_at)
    ON qerds.batch TO qerds_gateway;
GRANT SELECT, INSERT, UPDATE (first_line), DELETE ON qerds.batch_part TO qerds_gateway;
GRANT SELECT, INSERT, DELETE ON qerds.batch_intake, qerds.batch_line TO qerds_gateway;
GRANT SELECT ON qerds.batch_result TO qerds_gateway;

-- `ingest` draws: a delivery of a batch is written by it alone.
GRANT SELECT, UPDATE (state, drawn_part, drawn_line, accepted, rejected, completed_at) ON qerds.batch TO qerds_ingest;
GRANT SELECT ON qerds.batch_part TO qerds_ingest;
GRANT SELECT, DELETE ON qerds.batch_line TO qerds_ingest;
GRANT SELECT, INSERT ON qerds.batch_result TO qerds_ingest;
GRANT INSERT (id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind, recipient_email,
    given_names, birth_name, usage_name, birth_date, organisation_name, organisation_siren, language, consent_ref,
    subject, metadata, submitted_at, batch) ON qerds.delivery TO qerds_ingest;       -- never the state
GRANT INSERT ON qerds.delivery_document TO qerds_ingest;
GRANT SELECT (upload, bytes) ON qerds.upload_segment TO qerds_ingest;                -- is an upload whole?

GRANT SELECT ON qerds.batch, qerds.batch_part, qerds.batch_result TO qerds_operate;
GRANT SELECT (intake, line) ON qerds.batch_line TO qerds_operate;                    -- that lines are there, not what they say
