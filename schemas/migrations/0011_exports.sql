-- What a sender takes home in bulk: one sealed proof of deposit for each batch, and exports of packages and evidence.
-- Insert-only: a proof is made once, an export grows step by step, and the step that exists is the cursor of the next.
--
-- Gives          proofs of batches, exports
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it

CREATE TABLE qerds.batch_proof_request (
    batch    uuid PRIMARY KEY REFERENCES qerds.batch,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.batch_proof_request IS
    'A proof that was asked for: the message to `archive` is written in the same transaction, once. Inserts: gateway.';
CREATE TABLE qerds.batch_proof (
    batch     uuid PRIMARY KEY REFERENCES qerds.batch,
    object    text        NOT NULL UNIQUE,
    bytes     bigint      NOT NULL CHECK (bytes > 0),
    sha256    bytea       NOT NULL CHECK (length(sha256) = 32),
    lines     integer     NOT NULL CHECK (lines >= 1),
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.batch_proof IS 'The proof of deposit of a whole batch. Inserts: archive.';

CREATE TABLE qerds.export (
    id         uuid PRIMARY KEY,
    sender     uuid        NOT NULL REFERENCES qerds.sender,
    batch      uuid        REFERENCES qerds.batch,
    from_time  timestamptz,                                    -- of the deposit, legal time; included
    to_time    timestamptz,                                    -- not included
    kinds      text[]      NOT NULL CHECK (kinds <@ ARRAY['package', 'evidence'] AND cardinality(kinds) BETWEEN 1 AND 2),
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((batch IS NULL) = (from_time IS NOT NULL) AND (from_time IS NULL) = (to_time IS NULL))
);
COMMENT ON TABLE qerds.export IS 'An export that was asked for: of a batch, or of a period of deposits. Inserts: gateway.';

CREATE TABLE qerds.export_step (
    export     uuid        NOT NULL REFERENCES qerds.export,
    step       integer     NOT NULL CHECK (step >= 1),
    cursor     text        NOT NULL CHECK (length(cursor) <= 64),  -- the last row it went through
    is_last    boolean     NOT NULL,
    deliveries integer     NOT NULL,
    object     text        UNIQUE,
    bytes      bigint,
    sha256     bytea       CHECK (length(sha256) = 32),
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (export, step),
    CHECK ((object IS NULL) = (bytes IS NULL) AND (object IS NULL) = (sha256 IS NULL)),
    CHECK ((object IS NULL) = (deliveries = 0))
);
COMMENT ON TABLE qerds.export_step IS
    'One bounded piece of an export. A step without an object found nothing to pack in the rows it went through. Inserts: archive.';

-- The last step makes the export ready: an event of its sender.
CREATE FUNCTION qerds.note_export() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, subject)
    SELECT 'export.ready', x.sender, x.id FROM qerds.export x WHERE x.id = NEW.export;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION qerds.note_export() FROM PUBLIC;
CREATE TRIGGER note_export AFTER INSERT ON qerds.export_step FOR EACH ROW
    WHEN (NEW.is_last) EXECUTE FUNCTION qerds.note_export();

-- ------------------------------------------------------------------ who may do what
GRANT INSERT, SELECT (batch) ON qerds.batch_proof_request TO qerds_gateway;
GRANT SELECT, INSERT ON qerds.export TO qerds_gateway;
GRANT SELECT ON qerds.batch_proof, qerds.export_step TO qerds_gateway;
GRANT SELECT, INSERT ON qerds.batch_proof, qerds.export_step TO qerds_archive;
GRANT SELECT ON qerds.export TO qerds_archive;
GRANT SELECT ON qerds.batch_proof, qerds.batch_proof_request, qerds.export, qerds.export_step TO qerds_operate;
