-- The bridge's record of key uses is anchored: each head, under a MAC of the token's key, stands in the database too. Who cuts the
-- record or computes its chain anew would have to change both, and has no key for either.
--
-- Gives          qerds.key_use_head
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it

CREATE TABLE qerds.key_use_head (
    number  bigint      NOT NULL CHECK (number >= 0),
    sha256  bytea       NOT NULL CHECK (length(sha256) = 32),
    key_id  text        NOT NULL,
    mac     bytea       NOT NULL CHECK (length(mac) = 32),
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (number, sha256)                               -- a line that was two is seen: both stay
);
COMMENT ON TABLE qerds.key_use_head IS 'A line of the bridge''s record and its digest, under a MAC of the token''s key. Inserts: bridge.';
GRANT SELECT, INSERT (number, sha256, key_id, mac) ON qerds.key_use_head TO qerds_bridge;
GRANT SELECT ON qerds.key_use_head TO qerds_operate;
