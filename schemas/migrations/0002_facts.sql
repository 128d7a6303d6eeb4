-- Facts: what happened, one row each. Evidence and log tables are insert-only by grant (0003); the one row that
-- changes is qerds.delivery, and only in the columns that `timestamp` derives from stamped evidence.

CREATE SCHEMA qerds;

-- ------------------------------------------------------------------ installation and time
CREATE TABLE qerds.installation (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    mode        text        NOT NULL CHECK (mode IN ('non_qualified')),
    embedded    boolean     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The demo clock: a row that only an embedded installation has, and that only moves forward.
CREATE TABLE qerds.legal_clock (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    ahead       interval    NOT NULL CHECK (ahead >= interval '0'),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION qerds.keep_legal_clock_honest() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM qerds.installation WHERE embedded) THEN
        RAISE EXCEPTION 'the demo clock exists in an embedded installation only';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.ahead < OLD.ahead THEN
        RAISE EXCEPTION 'the demo clock only moves forward';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_legal_clock_honest BEFORE INSERT OR UPDATE ON qerds.legal_clock
    FOR EACH ROW EXECUTE FUNCTION qerds.keep_legal_clock_honest();

-- The time of the law: EventTime, deadlines. Milliseconds, rounded down, so that no event claims to be later than it was.
CREATE FUNCTION qerds.legal_now() RETURNS timestamptz
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT date_trunc('milliseconds', clock_timestamp()
           + coalesce((SELECT c.ahead FROM qerds.legal_clock c), interval '0'))
$$;

-- ------------------------------------------------------------------ published keys
CREATE TABLE qerds.published_key (
    key_id      text PRIMARY KEY,
    use         text        NOT NULL CHECK (use IN ('seal', 'time', 'intake', 'identity')),
    spki        bytea       NOT NULL,
    certificate bytea,
    not_before  timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE qerds.published_document (
    name        text        NOT NULL,
    version     integer     NOT NULL,
    body        bytea       NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, version)
);

-- ------------------------------------------------------------------ senders
CREATE TABLE qerds.sender (
    id              uuid PRIMARY KEY,
    name            text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    email           text        NOT NULL CHECK (length(email) <= 254),
    identity_level  text        NOT NULL CHECK (identity_level IN ('low', 'substantial', 'high')),
    identity_method text        NOT NULL,
    identified_at   timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
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
CREATE TABLE qerds.access_token (
    token_sha256 bytea PRIMARY KEY,
    client_id    text        NOT NULL REFERENCES qerds.sender_client,
    scopes       text[]      NOT NULL,
    expires_at   timestamptz NOT NULL
);
-- A client assertion (RFC 7523) is good once: its jti is kept until it would have expired anyway.
CREATE TABLE qerds.client_assertion (
    client_id   text        NOT NULL REFERENCES qerds.sender_client,
    jti         text        NOT NULL CHECK (length(jti) <= 128),
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (client_id, jti)
);
CREATE TABLE qerds.consent (
    sender      uuid        NOT NULL REFERENCES qerds.sender,
    ref         text        NOT NULL CHECK (length(ref) BETWEEN 1 AND 64),
    email       text        NOT NULL CHECK (length(email) <= 254),
    given_names text        NOT NULL,
    birth_name  text        NOT NULL,
    obtained_at timestamptz NOT NULL,
    method      text        NOT NULL,
    text_sha256 bytea       NOT NULL CHECK (length(text_sha256) = 32),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (sender, ref)
);
CREATE TABLE qerds.consent_withdrawal (
    sender       uuid        NOT NULL,
    ref          text        NOT NULL,
    withdrawn_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (sender, ref),
    FOREIGN KEY (sender, ref) REFERENCES qerds.consent
);

-- ------------------------------------------------------------------ uploads: content as ordered, encrypted segments
CREATE TABLE qerds.upload (
    id           uuid PRIMARY KEY,
    sender       uuid        NOT NULL REFERENCES qerds.sender,
    file_name    text        NOT NULL CHECK (length(file_name) BETWEEN 1 AND 255),
    content_type text        NOT NULL CHECK (length(content_type) <= 127),
    bytes        bigint      NOT NULL CHECK (bytes BETWEEN 0 AND 104857600),
    sha256       bytea       NOT NULL CHECK (length(sha256) = 32),
    sha3_256     bytea       NOT NULL CHECK (length(sha3_256) = 32),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL
);
CREATE TABLE qerds.upload_segment (
    upload         uuid     NOT NULL REFERENCES qerds.upload,
    segment        smallint NOT NULL CHECK (segment >= 1),
    object         text     NOT NULL UNIQUE,                   -- random name, never rewritten
    content_format text     NOT NULL,
    bytes          bigint   NOT NULL,                          -- of plain content
    intake_key_id  text     NOT NULL REFERENCES qerds.published_key,
    sealed_key     bytea    NOT NULL,                          -- HPKE to the intake key
    PRIMARY KEY (upload, segment)
);

-- ------------------------------------------------------------------ deliveries
CREATE TABLE qerds.transition (                                -- mirror of pipeline/delivery/states.py, kept equal by a test
    from_state text   NOT NULL,
    events     text[] NOT NULL,                                -- all of them stamped
    to_state   text   NOT NULL,
    PRIMARY KEY (from_state, events)
);
INSERT INTO qerds.transition (from_state, events, to_state) VALUES
    ('submitted', '{A.1}',     'deposited'),
    ('submitted', '{A.2}',     'rejected'),
    ('deposited', '{C.1}',     'notified'),
    ('deposited', '{C.2}',     'notice_failed'),
    ('notified',  '{C.3,D.1}', 'accepted'),
    ('notified',  '{C.4}',     'refused'),
    ('notified',  '{C.5}',     'unclaimed'),
    ('notified',  '{C.2}',     'notice_failed'),
    ('accepted',  '{E.1}',     'received'),
    ('accepted',  '{E.2}',     'uncollected');

CREATE TABLE qerds.delivery (
    id                uuid PRIMARY KEY,
    number            text        NOT NULL UNIQUE CHECK (number ~ '^[0-9]{14}$'),
    sender            uuid        NOT NULL REFERENCES qerds.sender,
    client_ref        text        CHECK (client_ref ~ '^[A-Za-z0-9._:/-]{1,64}$'),
    request_sha256    bytea       NOT NULL CHECK (length(request_sha256) = 32),
    lane              smallint    NOT NULL CHECK (lane IN (0, 2)),
    mode              text        NOT NULL,
    config_version    text        NOT NULL,
    recipient_kind    text        NOT NULL CHECK (recipient_kind IN ('consumer', 'professional')),
    recipient_email   text        NOT NULL CHECK (length(recipient_email) <= 254),
    given_names       text        NOT NULL CHECK (length(given_names) BETWEEN 1 AND 200),
    birth_name        text        NOT NULL CHECK (length(birth_name) BETWEEN 1 AND 200),
    usage_name        text        CHECK (length(usage_name) BETWEEN 1 AND 200),
    birth_date        text        CHECK (birth_date ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'),
    organisation_name text        CHECK (length(organisation_name) BETWEEN 1 AND 200),
    organisation_siren text       CHECK (organisation_siren ~ '^[0-9]{9}$'),
    language          text        NOT NULL CHECK (language IN ('fr', 'en')),
    consent_ref       text,
    subject           text        NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    metadata          jsonb       NOT NULL DEFAULT '{}',
    submitted_at      timestamptz NOT NULL,                    -- legal time
    state             text        NOT NULL DEFAULT 'submitted',
    stamped_through   integer     NOT NULL DEFAULT 0,          -- length of the contiguous stamped prefix
    CHECK (recipient_kind <> 'consumer' OR consent_ref IS NOT NULL)
) WITH (fillfactor = 80);
-- client_ref is the only key that suppresses a duplicate, for ever, among deliveries that were not rejected.
CREATE UNIQUE INDEX delivery_client_ref ON qerds.delivery (sender, client_ref) WHERE state <> 'rejected';
CREATE INDEX delivery_by_sender ON qerds.delivery (sender, id);   -- GET /v1/deliveries

CREATE FUNCTION qerds.guard_transition() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND NOT EXISTS (
        SELECT FROM qerds.transition t WHERE t.from_state = OLD.state AND t.to_state = NEW.state
    ) THEN
        RAISE EXCEPTION 'no transition from % to %', OLD.state, NEW.state;
    END IF;
    IF NEW.stamped_through < OLD.stamped_through THEN
        RAISE EXCEPTION 'the stamped prefix of % shrinks', NEW.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_transition BEFORE UPDATE ON qerds.delivery
    FOR EACH ROW EXECUTE FUNCTION qerds.guard_transition();

CREATE TABLE qerds.delivery_document (
    delivery     uuid     NOT NULL REFERENCES qerds.delivery,
    part         smallint NOT NULL CHECK (part BETWEEN 1 AND 20),
    upload       uuid     NOT NULL REFERENCES qerds.upload,
    file_name    text     NOT NULL CHECK (length(file_name) BETWEEN 1 AND 255),
    sha256       bytea    NOT NULL CHECK (length(sha256) = 32),    -- as the sender declared it; encrypt checks the bytes
    PRIMARY KEY (delivery, part)
);
CREATE INDEX delivery_document_by_upload ON qerds.delivery_document (upload);   -- is this upload still referenced?

-- An Idempotency-Key answers again for 72 hours; failures before the commit are not kept.
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

CREATE TABLE qerds.content_wrap (
    delivery   uuid PRIMARY KEY REFERENCES qerds.delivery,
    key_id     text        NOT NULL,
    context    bytea       NOT NULL,
    wrapped    bytea       NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- ------------------------------------------------------------------ evidence
CREATE TABLE qerds.log_leaf (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream     text        NOT NULL CHECK (stream IN ('evidence', 'security')),
    what       text        NOT NULL,
    subject    uuid        NOT NULL,
    digest     bytea       NOT NULL CHECK (length(digest) = 32),
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (stream, what, subject)
);

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
);
CREATE UNIQUE INDEX evidence_one_deposit  ON qerds.evidence (delivery) WHERE event IN ('A.1', 'A.2');
CREATE UNIQUE INDEX evidence_one_decision ON qerds.evidence (delivery) WHERE event IN ('C.3', 'C.4', 'C.5');
CREATE UNIQUE INDEX evidence_one_handover ON qerds.evidence (delivery) WHERE event IN ('E.1', 'E.2');

CREATE TABLE qerds.evidence_seal (
    evidence   uuid PRIMARY KEY REFERENCES qerds.evidence,
    signature  bytea       NOT NULL CHECK (length(signature) = 64),   -- ECDSA P-256, r || s
    key_id     text        NOT NULL,
    sealed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE qerds.evidence_token (
    evidence   uuid PRIMARY KEY REFERENCES qerds.evidence_seal,
    token      bytea       NOT NULL,
    gen_time   timestamptz NOT NULL,
    stamped_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- ------------------------------------------------------------------ notice and window
CREATE TABLE qerds.notice (
    delivery     uuid        NOT NULL REFERENCES qerds.delivery,
    ordinal      smallint    NOT NULL,
    notice_date  date        NOT NULL,                         -- D, the Paris date printed
    last_day     date        NOT NULL,                         -- D + 15, printed
    language     text        NOT NULL,
    message_id   text        NOT NULL UNIQUE,
    claim_sha256 bytea       NOT NULL UNIQUE CHECK (length(claim_sha256) = 32),
    text_sha256  bytea       NOT NULL CHECK (length(text_sha256) = 32),
    mail         bytea       NOT NULL,                         -- holds the claim token: only `notify` reads this column
    prepared_at  timestamptz NOT NULL,                         -- legal time
    PRIMARY KEY (delivery, ordinal)
);
CREATE TABLE qerds.notice_result (
    delivery   uuid        NOT NULL,
    ordinal    smallint    NOT NULL,
    outcome    text        NOT NULL CHECK (outcome IN ('relayed', 'refused', 'superseded')),
    code       smallint    NOT NULL,
    detail     text        NOT NULL CHECK (length(detail) <= 500),
    at         timestamptz NOT NULL,                           -- legal time
    PRIMARY KEY (delivery, ordinal),
    FOREIGN KEY (delivery, ordinal) REFERENCES qerds.notice
);
CREATE TABLE qerds.acceptance_window (
    delivery   uuid PRIMARY KEY REFERENCES qerds.delivery,
    ordinal    smallint    NOT NULL,
    last_day   date        NOT NULL,
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (delivery, ordinal) REFERENCES qerds.notice
);

-- ------------------------------------------------------------------ recipient
CREATE TABLE qerds.portal_session (
    session_sha256 bytea PRIMARY KEY CHECK (length(session_sha256) = 32),
    deliveries     uuid[]      NOT NULL,                       -- claim links opened in this browser
    transactions   jsonb       NOT NULL DEFAULT '{}',          -- open ones with the identity provider, by digest of their state
    people         jsonb       NOT NULL DEFAULT '{}',          -- by delivery: who identified in this browser, with the bridge's ticket
    form_sha256    bytea       NOT NULL,                       -- the per-session form token, hashed
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE qerds.identification (
    id               uuid PRIMARY KEY,
    delivery         uuid        NOT NULL REFERENCES qerds.delivery,
    provider         text        NOT NULL,
    outcome          text        NOT NULL CHECK (outcome IN ('match', 'near', 'no')),
    level            text        NOT NULL,
    person_sha256    bytea       NOT NULL,
    proof            bytea       NOT NULL,                     -- the provider's signed tokens, verifiable later
    authenticated_at timestamptz NOT NULL,
    at               timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX identification_by_delivery ON qerds.identification (delivery, at);   -- retry cap on mismatch
CREATE TABLE qerds.decision_intent (
    id          uuid PRIMARY KEY,
    delivery    uuid        NOT NULL REFERENCES qerds.delivery,
    act         text        NOT NULL CHECK (act IN ('accept', 'refuse')),
    decided_at  timestamptz NOT NULL,                          -- legal time, becomes EventTime
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp() -- an intent lives 60 s of real time
);
CREATE INDEX decision_intent_by_delivery ON qerds.decision_intent (delivery, made_at);   -- is an intent alive?
CREATE TABLE qerds.handover (                                  -- each document sent once from first to last byte in one response
    delivery    uuid        NOT NULL REFERENCES qerds.delivery,
    part        smallint    NOT NULL,
    complete    boolean     NOT NULL,
    bytes       bigint      NOT NULL,
    at          timestamptz NOT NULL,                          -- legal time
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
CREATE INDEX handover_by_delivery ON qerds.handover (delivery, part);   -- is the handover complete?

-- ------------------------------------------------------------------ preservation
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
CREATE TABLE qerds.object_mark (                               -- to be deleted by the janitor, 24 h later
    object     text PRIMARY KEY,
    why        text        NOT NULL,
    marked_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- ------------------------------------------------------------------ the lock
-- Locks deliveries in id order and answers what a draft needs, read after the lock: two statements, because a
-- single one would see evidence as it was before it waited. Definer's rights, so that a stage needs no UPDATE.
CREATE FUNCTION qerds.lock_deliveries(ids uuid[])
RETURNS TABLE (delivery uuid, state text, stamped_through integer, next_sequence integer, predecessor_sha256 bytea,
               drafted text[], stamped text[], expires_at timestamptz, intent_alive boolean, consent_stands boolean,
               legal_time timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM 1 FROM qerds.delivery d WHERE d.id = ANY (ids) ORDER BY d.id FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT d.id, d.state, d.stamped_through,
           coalesce(last.sequence, 0) + 1, last.sha256,
           ARRAY(SELECT e.event FROM qerds.evidence e WHERE e.delivery = d.id ORDER BY e.sequence),
           ARRAY(SELECT e.event FROM qerds.evidence e JOIN qerds.evidence_token t USING (evidence)
                 WHERE e.delivery = d.id ORDER BY e.sequence),
           w.expires_at,
           EXISTS (SELECT FROM qerds.decision_intent i
                   WHERE i.delivery = d.id AND i.made_at > clock_timestamp() - interval '60 s'),
           d.consent_ref IS NULL OR NOT EXISTS (SELECT FROM qerds.consent_withdrawal c
                                                WHERE c.sender = d.sender AND c.ref = d.consent_ref),
           qerds.legal_now()
    FROM qerds.delivery d
    LEFT JOIN LATERAL (SELECT e.sequence, e.sha256 FROM qerds.evidence e
                       WHERE e.delivery = d.id ORDER BY e.sequence DESC LIMIT 1) last ON true
    LEFT JOIN qerds.acceptance_window w ON w.delivery = d.id
    WHERE d.id = ANY (ids);
END $$;
