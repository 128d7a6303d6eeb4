-- Content at scale: one content for many letters, many small contents in one object, uploads that arrive in parts, and
-- the removal of what nobody uses. See docs/content.md.

-- What `encrypt` found an upload to be, and its keys wrapped under that: later letters get their own wrap derived from
-- this one at the bridge, without reading the content again. The first committed one wins.
CREATE TABLE qerds.upload_wrap (
    upload     uuid PRIMARY KEY REFERENCES qerds.upload,
    key_id     text        NOT NULL,
    context    bytea       NOT NULL,
    wrapped    bytea       NOT NULL,
    sha3_256   bytea       NOT NULL CHECK (length(sha3_256) = 32),
    open_until timestamptz NOT NULL,                           -- real time; part of the context, kept here for people
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- An upload in parts: nobody has seen its bytes in one pass, so its second digest is known when `encrypt` has read it.
ALTER TABLE qerds.upload
    DROP CONSTRAINT upload_bytes_check,
    ADD CONSTRAINT upload_bytes_check CHECK (bytes BETWEEN 0 AND 1073741824),
    ALTER COLUMN sha3_256 DROP NOT NULL,
    ADD COLUMN part_bytes bigint CHECK (part_bytes > 0),       -- null: sent as one body
    ADD CONSTRAINT upload_second_digest CHECK (sha3_256 IS NOT NULL OR part_bytes IS NOT NULL);
CREATE INDEX upload_by_expiry ON qerds.upload (expires_at, id);   -- which are over and unused?

ALTER TABLE qerds.upload_segment
    ADD COLUMN object_offset bigint NOT NULL DEFAULT 0 CHECK (object_offset >= 0),
    ADD COLUMN object_bytes  bigint CHECK (object_bytes > 0),  -- of the stream; null: the whole object
    ADD COLUMN sha256        bytea CHECK (length(sha256) = 32),   -- of a part's plain bytes: is it sent again?
    DROP CONSTRAINT upload_segment_object_key,
    ADD CONSTRAINT upload_segment_place UNIQUE (object, object_offset),
    ADD CHECK (object_offset = 0 OR object_bytes IS NOT NULL);

-- One object for many small contents. The sealed_key of a content in it is encrypted under the pack's key.
CREATE TABLE qerds.pack (
    object        text PRIMARY KEY,
    intake_key_id text        NOT NULL REFERENCES qerds.published_key,
    sealed_key    bytea       NOT NULL,                        -- HPKE to the intake key
    bytes         bigint      NOT NULL CHECK (bytes > 0),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- ------------------------------------------------------------------ grants
-- ON CONFLICT asks for SELECT on the column it arbitrates by; every drafting role says the second digest.
GRANT SELECT (upload, sha3_256) ON qerds.upload_wrap TO
    qerds_gateway, qerds_ingest, qerds_notify, qerds_expire, qerds_archive, qerds_operate;
GRANT SELECT, INSERT ON qerds.upload_wrap TO qerds_encrypt;
GRANT SELECT ON qerds.pack TO qerds_encrypt;
GRANT INSERT ON qerds.pack TO qerds_gateway;
GRANT UPDATE (expires_at) ON qerds.upload TO qerds_gateway;    -- to give an unused upload up: it ends, nothing else changes

-- archive is the only one that deletes, and it sees no sealed key.
GRANT SELECT (upload, segment, object) ON qerds.upload_segment TO qerds_archive;
GRANT SELECT (object, created_at) ON qerds.pack TO qerds_archive;
GRANT DELETE ON qerds.upload, qerds.upload_segment, qerds.upload_wrap, qerds.pack TO qerds_archive;

GRANT SELECT (open_until, at) ON qerds.upload_wrap TO qerds_operate;
GRANT SELECT (object, bytes, created_at) ON qerds.pack TO qerds_operate;
GRANT SELECT (upload, segment, object, bytes, object_offset, object_bytes) ON qerds.upload_segment TO qerds_operate;
