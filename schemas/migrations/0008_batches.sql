-- Bulk submission: a batch is opened, its lines are stored part by part, it is submitted once, and `ingest` draws its
-- lines in order. See docs/bulk.md.
--
-- Gives          batches, their lines and results
-- Locks          qerds.delivery, for an instant: it gets a foreign key and two indexes while it has no row
-- Old processes  may run: none knows any of it

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
COMMENT ON TABLE qerds.batch IS
    'A batch: the row that changes. Its cursor moves only together with what the lines became. Inserts: gateway.';
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
COMMENT ON TABLE qerds.batch_part IS 'A part of a batch whose body came in whole. Inserts: gateway.';

CREATE TABLE qerds.batch_intake (
    intake   uuid PRIMARY KEY,
    batch    uuid        NOT NULL REFERENCES qerds.batch,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.batch_intake IS
    'A body on its way in: its lines are committed a few thousand at a time, so that a slow client holds no transaction. '
    'They become a part when the body was whole (the row goes, the part is there), and are deleted when it was not. '
    'Inserts: gateway.';

-- No foreign key: only a part makes lines count, and a check per line would cost more than the line.
CREATE TABLE qerds.batch_line (
    intake uuid    NOT NULL,
    line   integer NOT NULL CHECK (line >= 1),                 -- within the part
    body   bytea   NOT NULL CHECK (length(body) <= 65536),
    PRIMARY KEY (intake, line)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE qerds.batch_line IS
    'A line: one JSON object as the sender wrote it (CSV is mapped when it comes in). Removed by the draw that judges it. '
    'Inserts: gateway.';

CREATE TABLE qerds.batch_result (
    batch      uuid    NOT NULL REFERENCES qerds.batch,
    part       integer NOT NULL,
    line       integer NOT NULL,
    client_ref text,
    delivery   uuid    REFERENCES qerds.delivery,              -- null: rejected, see problem
    replayed   boolean NOT NULL DEFAULT false,                 -- the delivery existed before this line
    problem    jsonb,
    was_undecided boolean NOT NULL DEFAULT true,               -- a replayed one: whether it could still be rejected
    PRIMARY KEY (batch, part, line),
    CHECK ((delivery IS NULL) = (problem IS NOT NULL))
);
COMMENT ON TABLE qerds.batch_result IS 'What became of a drawn line. Inserts: ingest.';
-- When is a batch at its end? Of the letters that existed before (replayed lines) only those can still be rejected that were
-- undecided when their line was drawn. Looking at all of them, every two seconds and with every question for the batch,
-- would be a walk over every letter of the installation once a whole file had been sent again.
CREATE INDEX batch_result_undecided ON qerds.batch_result (batch) WHERE replayed AND was_undecided;

ALTER TABLE qerds.delivery ADD FOREIGN KEY (batch) REFERENCES qerds.batch;
CREATE INDEX delivery_by_batch ON qerds.delivery (batch, state) WHERE batch IS NOT NULL;   -- counts by state
CREATE INDEX delivery_by_batch_deposit ON qerds.delivery (batch, state, coalesce(settled_at, submitted_at), id)
    WHERE batch IS NOT NULL;                                   -- lists; the one that counts is a twentieth of the size

-- ------------------------------------------------------------------ who may do what
-- The gateway takes lines in and decides what is open; it moves no cursor and writes no result.
GRANT SELECT, INSERT (id, sender, name, format, csv_mapping, defaults, expires_at), UPDATE (state, parts, lines, submitted_at, completed_at)
    ON qerds.batch TO qerds_gateway;
GRANT SELECT, INSERT, UPDATE (first_line), DELETE ON qerds.batch_part TO qerds_gateway;
GRANT SELECT, INSERT, DELETE ON qerds.batch_intake, qerds.batch_line TO qerds_gateway;
GRANT SELECT ON qerds.batch_result TO qerds_gateway;

-- `ingest` draws.
GRANT SELECT, UPDATE (state, drawn_part, drawn_line, accepted, rejected, completed_at) ON qerds.batch TO qerds_ingest;
GRANT SELECT ON qerds.batch_part TO qerds_ingest;
GRANT SELECT, DELETE ON qerds.batch_line TO qerds_ingest;
GRANT SELECT, INSERT ON qerds.batch_result TO qerds_ingest;

GRANT SELECT ON qerds.batch, qerds.batch_part, qerds.batch_result TO qerds_archive, qerds_operate;
GRANT SELECT (intake, line) ON qerds.batch_line TO qerds_operate;   -- that lines are there, not what they say
