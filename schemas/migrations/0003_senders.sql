-- Senders: who may submit, and how their programs prove it.
--
-- Gives          senders, their clients and tokens
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it

CREATE TABLE qerds.sender (
    id              uuid PRIMARY KEY,
    name            text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    email           text        NOT NULL CHECK (length(email) <= 254),
    identity_level  text        NOT NULL CHECK (identity_level IN ('low', 'substantial', 'high')),
    identity_method text        NOT NULL,
    identified_at   timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    identity_valid_until timestamptz,                          -- legal time; null: no end was agreed
    window_until         timestamptz                           -- legal time; null: it may submit at any time
);
COMMENT ON TABLE qerds.sender IS 'A sender, as it was identified at its enrolment. Inserts: operate.';
CREATE TABLE qerds.sender_client (
    client_id     text PRIMARY KEY CHECK (length(client_id) <= 64),
    sender        uuid        NOT NULL REFERENCES qerds.sender,
    secret_sha256 bytea,                                       -- embedded installations and sandboxes only
    public_jwk    jsonb,                                       -- private_key_jwt
    scopes        text[]      NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at    timestamptz,
    CHECK (secret_sha256 IS NOT NULL OR public_jwk IS NOT NULL)
);
COMMENT ON TABLE qerds.sender_client IS 'A program of a sender, and what it proves itself by. Inserts: operate.';
CREATE TABLE qerds.access_token (
    token_sha256 bytea PRIMARY KEY,
    client_id    text        NOT NULL REFERENCES qerds.sender_client,
    scopes       text[]      NOT NULL,
    expires_at   timestamptz NOT NULL
);
COMMENT ON TABLE qerds.access_token IS 'A token that was handed out, by its digest; removed when it has run out. Inserts: gateway.';
CREATE TABLE qerds.client_assertion (
    client_id   text        NOT NULL REFERENCES qerds.sender_client,
    jti         text        NOT NULL CHECK (length(jti) <= 128),
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (client_id, jti)
);
COMMENT ON TABLE qerds.client_assertion IS
    'A client assertion (RFC 7523) that was used: it is good once, so its jti is kept until it would have expired anyway. '
    'Inserts: gateway.';
CREATE TABLE qerds.idempotency (
    sender         uuid        NOT NULL REFERENCES qerds.sender,
    key            text        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_sha256 bytea       NOT NULL,
    status         smallint    NOT NULL,
    location       text,
    body           bytea       NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (sender, key)
);
COMMENT ON TABLE qerds.idempotency IS
    'The answer that an Idempotency-Key gets again for 72 hours; failures before the commit are not kept. Inserts: gateway.';

-- Why a sender may not submit now: a problem code of the API, null when it may.
CREATE FUNCTION qerds.sender_bar(wanted uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT CASE WHEN outbox.is_paused('intake', '') THEN 'unavailable'
                WHEN outbox.is_paused('sender', s.id::text) THEN 'sender_suspended'
                WHEN s.identity_valid_until <= legal.now THEN 'sender_identity_expired'
                WHEN s.window_until <= legal.now THEN 'sealing_window_closed' END
    FROM qerds.sender s, (SELECT qerds.legal_now() AS now) legal WHERE s.id = wanted
$$;

-- ------------------------------------------------------------------ who may do what
GRANT SELECT ON qerds.sender TO qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp, qerds_notify,
    qerds_expire, qerds_archive;
GRANT SELECT ON qerds.sender_client TO qerds_gateway;
GRANT SELECT, INSERT, DELETE ON qerds.access_token, qerds.client_assertion, qerds.idempotency TO qerds_gateway;
REVOKE ALL ON FUNCTION qerds.sender_bar(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION qerds.sender_bar(uuid) TO qerds_gateway;

-- operate: enrols, keeps keys and times
GRANT SELECT, INSERT, UPDATE (identity_valid_until, window_until) ON qerds.sender TO qerds_operate;
GRANT SELECT, INSERT, UPDATE (secret_sha256, public_jwk, revoked_at) ON qerds.sender_client TO qerds_operate;
