-- Deliveries: the letters, in the one row each that changes. Its state is moved by `timestamp` alone, as it derives it from
-- stamped evidence.
--
-- Gives          deliveries, their documents and content keys
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it

CREATE TABLE qerds.transition (
    from_state text   NOT NULL,
    events     text[] NOT NULL,                                -- all of them stamped
    to_state   text   NOT NULL,
    PRIMARY KEY (from_state, events)
);
COMMENT ON TABLE qerds.transition IS
    'How a state follows from stamped events: mirror of the code''s table, kept equal by a test. Inserts: nobody.';
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
    batch             uuid,                                    -- that it was drawn from (0008)
    -- In the row and not beside it: every change of a letter rewrites its row anyway (the state is in the predicate of
    -- delivery_client_ref, so no such update was ever HOT), and a second row would cost more than two columns.
    settled_at        timestamptz,                             -- time of its A.1 or A.2, once that is stamped
    changed_at        timestamptz,                             -- legal time; null: it is as it was submitted
    CHECK (recipient_kind <> 'consumer' OR consent_ref IS NOT NULL)
-- Its state changes two to five times, all within days: the dead versions of a bulk are near each other, and a fifth of
-- a big table, the default, would be a million of them.
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE qerds.delivery IS
    'A letter: what was submitted, and where it stands. Inserts: gateway, ingest; the state of neither, which `timestamp` moves.';
-- client_ref is the only key that suppresses a duplicate, for ever, among deliveries that were not rejected. With
-- delivery_rejected_ref, every letter of a reference is found.
CREATE UNIQUE INDEX delivery_client_ref ON qerds.delivery (sender, client_ref) WHERE state <> 'rejected';
CREATE INDEX delivery_rejected_ref ON qerds.delivery (sender, client_ref) WHERE state = 'rejected';
-- The places in a list: (at, id) within a state. A list over several states merges their beginnings, so one index serves it
-- with and without a state.
CREATE INDEX delivery_by_deposit ON qerds.delivery (sender, state, coalesce(settled_at, submitted_at), id);
CREATE INDEX delivery_by_change ON qerds.delivery (sender, coalesce(changed_at, submitted_at), id);
-- Who is owed something next, and since when? A letter leaves this index when nothing more is owed to anybody by a day.
CREATE INDEX delivery_with_a_duty ON qerds.delivery (state, submitted_at) WHERE state IN ('submitted', 'deposited', 'notified');

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
REVOKE ALL ON FUNCTION qerds.guard_transition() FROM PUBLIC;

CREATE TABLE qerds.delivery_document (
    delivery     uuid     NOT NULL REFERENCES qerds.delivery,
    part         smallint NOT NULL CHECK (part BETWEEN 1 AND 20),
    upload       uuid     NOT NULL REFERENCES qerds.upload,
    file_name    text     NOT NULL CHECK (length(file_name) BETWEEN 1 AND 255),
    sha256       bytea    NOT NULL CHECK (length(sha256) = 32),    -- as the sender declared it; encrypt checks the bytes
    PRIMARY KEY (delivery, part)
);
COMMENT ON TABLE qerds.delivery_document IS 'A document of a letter, in their order. Inserts: gateway, ingest.';
CREATE INDEX delivery_document_by_upload ON qerds.delivery_document (upload);   -- is this upload still referenced?

CREATE TABLE qerds.content_wrap (
    delivery   uuid PRIMARY KEY REFERENCES qerds.delivery,
    key_id     text        NOT NULL,
    context    bytea       NOT NULL,
    wrapped    bytea       NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.content_wrap IS
    'The keys of a letter''s contents, wrapped for this letter; the first committed one wins. Inserts: encrypt.';

-- ------------------------------------------------------------------ who may do what
GRANT SELECT ON qerds.delivery, qerds.delivery_document TO qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal,
    qerds_timestamp, qerds_notify, qerds_expire, qerds_archive, qerds_operate;
-- Never the state, and the batch by `ingest` alone: the gateway cannot claim that a letter was drawn.
GRANT INSERT (id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind, recipient_email,
    given_names, birth_name, usage_name, birth_date, organisation_name, organisation_siren, language, consent_ref,
    subject, metadata, submitted_at) ON qerds.delivery TO qerds_gateway, qerds_ingest;
GRANT INSERT (batch) ON qerds.delivery TO qerds_ingest;
GRANT INSERT ON qerds.delivery_document TO qerds_gateway, qerds_ingest;
GRANT UPDATE (state, stamped_through, settled_at, changed_at) ON qerds.delivery TO qerds_timestamp;   -- here and nowhere else
GRANT SELECT ON qerds.transition TO qerds_timestamp, qerds_operate;   -- what the guard compares with
GRANT SELECT ON qerds.content_wrap TO qerds_gateway;
GRANT INSERT, SELECT (delivery) ON qerds.content_wrap TO qerds_encrypt;   -- ON CONFLICT asks for SELECT on what it arbitrates by
GRANT SELECT (delivery, key_id, at) ON qerds.content_wrap TO qerds_operate;
