-- Evidence: what happened to a letter, sealed and stamped, one row each. Insert-only by grant: nobody updates or deletes, and
-- a process that was taken over can forge no event that is not its own.
--
-- Gives          evidence, seals, tokens, packages, leaves of the log
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it

-- Insert-only tables are visited early enough by autovacuum that the visibility map serves counts and the freezing is not
-- left for one night.
CREATE TABLE qerds.log_leaf (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream     text        NOT NULL CHECK (stream IN ('evidence', 'security')),
    what       text        NOT NULL,
    subject    uuid        NOT NULL,
    digest     bytea       NOT NULL CHECK (length(digest) = 32),
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (stream, what, subject)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE qerds.log_leaf IS
    'The digest of a fact, written with it and by whoever writes it. '
    'Inserts: gateway, ingest, encrypt, seal, timestamp, notify, expire, archive.';

CREATE TABLE qerds.evidence (
    evidence    uuid PRIMARY KEY,
    delivery    uuid        NOT NULL REFERENCES qerds.delivery,
    event       text        NOT NULL,
    ordinal     smallint    NOT NULL,
    sequence    integer     NOT NULL CHECK (sequence >= 1),
    event_time  timestamptz NOT NULL,
    canonical   bytea       NOT NULL,
    sha256      bytea       NOT NULL CHECK (sha256 = pg_catalog.sha256(canonical)),
    seal_key_id text        NOT NULL REFERENCES qerds.published_key,
    receipt     bytea,
    drafted_by  text        NOT NULL DEFAULT current_user,
    drafted_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (delivery, event, ordinal),
    UNIQUE (delivery, sequence),
    -- A recipient's act stands on a receipt of the bridge, and nothing else does.
    CHECK ((event IN ('C.3', 'C.4', 'D.1', 'E.1')) = (receipt IS NOT NULL))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE qerds.evidence IS
    'A draft: an event of a letter, as the bytes that will be sealed. '
    'Inserts: gateway, ingest, encrypt, notify, expire; each the events of its own.';
CREATE UNIQUE INDEX evidence_one_deposit  ON qerds.evidence (delivery) WHERE event IN ('A.1', 'A.2');
CREATE UNIQUE INDEX evidence_one_decision ON qerds.evidence (delivery) WHERE event IN ('C.3', 'C.4', 'C.5');
CREATE UNIQUE INDEX evidence_one_handover ON qerds.evidence (delivery) WHERE event IN ('E.1', 'E.2');

CREATE TABLE qerds.evidence_seal (
    evidence   uuid PRIMARY KEY REFERENCES qerds.evidence,
    signature  bytea       NOT NULL CHECK (length(signature) = 64),   -- ECDSA P-256, r || s
    key_id     text        NOT NULL,
    sealed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE qerds.evidence_seal IS 'The seal of a draft; the first committed one wins. Inserts: seal.';
CREATE TABLE qerds.evidence_token (
    evidence   uuid PRIMARY KEY REFERENCES qerds.evidence_seal,
    token      bytea       NOT NULL,
    gen_time   timestamptz NOT NULL,
    stamped_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE qerds.evidence_token IS 'The time-stamp token of a seal; the first committed one wins. Inserts: timestamp.';

CREATE TABLE qerds.snapshot (
    delivery         uuid        NOT NULL REFERENCES qerds.delivery,
    snapshot         smallint    NOT NULL CHECK (snapshot >= 1),
    object           text        NOT NULL UNIQUE,
    bytes            bigint      NOT NULL,
    sha256           bytea       NOT NULL CHECK (length(sha256) = 32),
    previous_sha256  bytea,
    sequence_through integer     NOT NULL,
    at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (delivery, snapshot),
    UNIQUE (delivery, sequence_through)
);
COMMENT ON TABLE qerds.snapshot IS 'A numbered state of a letter''s package. Inserts: archive.';

-- ------------------------------------------------------------------ who may do what
GRANT SELECT ON qerds.evidence, qerds.evidence_seal, qerds.evidence_token TO qerds_gateway, qerds_ingest, qerds_encrypt,
    qerds_seal, qerds_timestamp, qerds_notify, qerds_expire, qerds_archive, qerds_operate;
GRANT INSERT ON qerds.log_leaf TO qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp, qerds_notify,
    qerds_expire, qerds_archive;
GRANT INSERT ON qerds.evidence_seal TO qerds_seal;
GRANT INSERT ON qerds.evidence_token TO qerds_timestamp;
GRANT SELECT, INSERT ON qerds.snapshot TO qerds_archive;
GRANT SELECT ON qerds.snapshot TO qerds_gateway, qerds_operate;
GRANT SELECT ON qerds.log_leaf TO qerds_operate;

-- Drafts: by role and event.
GRANT INSERT (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, seal_key_id, receipt)
    ON qerds.evidence TO qerds_gateway, qerds_ingest, qerds_encrypt, qerds_notify, qerds_expire;
ALTER TABLE qerds.evidence ENABLE ROW LEVEL SECURITY;
CREATE POLICY read_evidence ON qerds.evidence FOR SELECT USING (true);
CREATE POLICY draft_gateway ON qerds.evidence FOR INSERT TO qerds_gateway WITH CHECK (event IN ('C.3', 'C.4', 'D.1', 'E.1'));
CREATE POLICY draft_ingest  ON qerds.evidence FOR INSERT TO qerds_ingest  WITH CHECK (event = 'A.2');
CREATE POLICY draft_encrypt ON qerds.evidence FOR INSERT TO qerds_encrypt WITH CHECK (event IN ('A.1', 'A.2'));
CREATE POLICY draft_notify  ON qerds.evidence FOR INSERT TO qerds_notify  WITH CHECK (event IN ('C.1', 'C.2'));
CREATE POLICY draft_expire  ON qerds.evidence FOR INSERT TO qerds_expire  WITH CHECK (event IN ('C.5', 'E.2'));
