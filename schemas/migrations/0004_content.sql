-- Content: documents as ordered, encrypted segments of objects; one content for many letters, many small contents in one
-- object, uploads that arrive in parts, and the removal of what nobody uses. See docs/content.md.
--
-- Gives          uploads, packs, and the wraps of their keys
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it

CREATE TABLE qerds.upload (
    id           uuid PRIMARY KEY,
    sender       uuid        NOT NULL REFERENCES qerds.sender,
    file_name    text        NOT NULL CHECK (length(file_name) BETWEEN 1 AND 255),
    content_type text        NOT NULL CHECK (length(content_type) <= 127),
    bytes        bigint      NOT NULL CHECK (bytes BETWEEN 0 AND 1073741824),
    sha256       bytea       NOT NULL CHECK (length(sha256) = 32),
    sha3_256     bytea       CHECK (length(sha3_256) = 32),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL,
    part_bytes   bigint      CHECK (part_bytes > 0),           -- null: sent as one body
    -- Nobody has seen the bytes of an upload in parts in one pass: its second digest is known when `encrypt` has read it.
    CONSTRAINT upload_second_digest CHECK (sha3_256 IS NOT NULL OR part_bytes IS NOT NULL)
);
COMMENT ON TABLE qerds.upload IS
    'A document that a sender handed over; removed when it has expired and no letter uses it. Inserts: gateway.';
CREATE INDEX upload_by_expiry ON qerds.upload (expires_at, id);   -- which are over and unused?

CREATE TABLE qerds.upload_segment (
    upload         uuid     NOT NULL REFERENCES qerds.upload,
    segment        smallint NOT NULL CHECK (segment >= 1),
    object         text     NOT NULL,                          -- random name, never rewritten
    content_format text     NOT NULL,
    bytes          bigint   NOT NULL,                          -- of plain content
    intake_key_id  text     NOT NULL REFERENCES qerds.published_key,
    sealed_key     bytea    NOT NULL,                          -- HPKE to the intake key
    object_offset  bigint   NOT NULL DEFAULT 0 CHECK (object_offset >= 0),
    object_bytes   bigint   CHECK (object_bytes > 0),          -- of the stream; null: the whole object
    sha256         bytea    CHECK (length(sha256) = 32),       -- of a part's plain bytes: is it sent again?
    PRIMARY KEY (upload, segment),
    CONSTRAINT upload_segment_place UNIQUE (object, object_offset),
    CHECK (object_offset = 0 OR object_bytes IS NOT NULL)
);
COMMENT ON TABLE qerds.upload_segment IS
    'Where a part of an upload is, and its sealed key. Inserts: gateway.';

CREATE TABLE qerds.pack (
    object        text PRIMARY KEY,
    intake_key_id text        NOT NULL REFERENCES qerds.published_key,
    sealed_key    bytea       NOT NULL,                        -- HPKE to the intake key
    bytes         bigint      NOT NULL CHECK (bytes > 0),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.pack IS
    'One object for many small contents. The sealed_key of a content in it is encrypted under the pack''s key. Inserts: gateway.';

-- Later letters get their own wrap derived from this one at the bridge, without reading the content again.
CREATE TABLE qerds.upload_wrap (
    upload     uuid PRIMARY KEY REFERENCES qerds.upload,
    key_id     text        NOT NULL,
    context    bytea       NOT NULL,
    wrapped    bytea       NOT NULL,
    sha3_256   bytea       NOT NULL CHECK (length(sha3_256) = 32),
    open_until timestamptz NOT NULL,                           -- real time; part of the context, kept here for people
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.upload_wrap IS
    'What `encrypt` found an upload to be, and its keys wrapped under that; the first committed one wins. Inserts: encrypt.';

-- ------------------------------------------------------------------ who may do what
GRANT SELECT ON qerds.upload TO qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp, qerds_notify,
    qerds_expire, qerds_archive, qerds_operate;
GRANT INSERT, UPDATE (expires_at) ON qerds.upload TO qerds_gateway;   -- to give an unused upload up: it ends, nothing else changes
GRANT SELECT, INSERT ON qerds.upload_segment TO qerds_gateway;
GRANT INSERT ON qerds.pack TO qerds_gateway;
GRANT SELECT (upload, bytes) ON qerds.upload_segment TO qerds_ingest;   -- is an upload whole?
GRANT SELECT ON qerds.upload_segment, qerds.pack TO qerds_encrypt;
GRANT SELECT, INSERT ON qerds.upload_wrap TO qerds_encrypt;

-- ON CONFLICT asks for SELECT on the column it arbitrates by; every drafting role says the second digest.
GRANT SELECT (upload, sha3_256) ON qerds.upload_wrap TO qerds_gateway, qerds_ingest, qerds_notify, qerds_expire, qerds_archive;

-- archive is the only one that deletes, and it sees no sealed key.
GRANT SELECT (upload, segment, object) ON qerds.upload_segment TO qerds_archive;
GRANT SELECT (object, created_at) ON qerds.pack TO qerds_archive;
GRANT DELETE ON qerds.upload, qerds.upload_segment, qerds.upload_wrap, qerds.pack TO qerds_archive;

GRANT SELECT (upload, sha3_256, open_until, at) ON qerds.upload_wrap TO qerds_operate;
GRANT SELECT (object, bytes, created_at) ON qerds.pack TO qerds_operate;
GRANT SELECT (upload, segment, object, bytes, object_offset, object_bytes) ON qerds.upload_segment TO qerds_operate;
