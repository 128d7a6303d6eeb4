-- A sender asks a consumer for consent by mail, and the consumer answers on a page (docs/portal.md, docs/events.md).
-- Insert-only: a request, its mail, what the relay said and the answer are rows of their own, and none is ever changed.
-- By the real clock, as the consents of 0002.

CREATE TABLE qerds.consent_request (
    id          uuid PRIMARY KEY,
    sender      uuid        NOT NULL REFERENCES qerds.sender,
    ref         text        NOT NULL CHECK (ref ~ '^[A-Za-z0-9._:-]{1,64}$'),   -- of the consent that a yes makes
    email       text        NOT NULL CHECK (length(email) <= 254),
    given_names text        NOT NULL CHECK (length(given_names) BETWEEN 1 AND 200),
    birth_name  text        NOT NULL CHECK (length(birth_name) BETWEEN 1 AND 200),
    language    text        NOT NULL CHECK (language IN ('fr', 'en')),
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL CHECK (expires_at > asked_at),
    UNIQUE (sender, ref)
);
CREATE INDEX consent_request_by_address ON qerds.consent_request (sender, lower(email), asked_at);

CREATE TABLE qerds.consent_mail (
    request     uuid PRIMARY KEY REFERENCES qerds.consent_request,
    message_id  text        NOT NULL UNIQUE,
    link_sha256 bytea       NOT NULL UNIQUE CHECK (length(link_sha256) = 32),
    text_sha256 bytea       NOT NULL CHECK (length(text_sha256) = 32),
    mail        bytea       NOT NULL,                          -- holds the link: only `notify` reads this column
    prepared_at timestamptz NOT NULL
);
CREATE TABLE qerds.consent_mail_result (
    request uuid PRIMARY KEY REFERENCES qerds.consent_mail,
    outcome text        NOT NULL CHECK (outcome IN ('relayed', 'refused', 'late')),
    code    smallint    NOT NULL,
    detail  text        NOT NULL CHECK (length(detail) <= 500),
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The key is what makes an answer the only one: of two at once the second finds the first.
CREATE TABLE qerds.consent_answer (
    request     uuid PRIMARY KEY REFERENCES qerds.consent_request,
    answer      text        NOT NULL CHECK (answer IN ('given', 'refused')),
    language    text        NOT NULL CHECK (language IN ('fr', 'en')),
    text        text        NOT NULL,                          -- what the page showed, whole
    text_sha256 bytea       NOT NULL CHECK (text_sha256 = sha256(convert_to(text, 'UTF8'))),
    answered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE qerds.consent_withdrawal ADD COLUMN withdrawn_by text NOT NULL DEFAULT 'sender'
    CHECK (withdrawn_by IN ('sender', 'consumer'));

-- ------------------------------------------------------------------ events
-- About no letter: what they name is the sender's own reference of the consent, which takes the place of a client_ref.
INSERT INTO qerds.event_type (type, state, proof) VALUES
    ('consent.given', NULL, NULL), ('consent.refused', NULL, NULL), ('consent.withdrawn', NULL, NULL);
ALTER TABLE qerds.event_unsequenced ADD COLUMN ref text;

-- As in 0008, and the reference of what is no letter.
CREATE OR REPLACE FUNCTION qerds.sequence_events(lowest bigint, most integer, OUT sequenced bigint, OUT newest bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    base bigint;
BEGIN
    SELECT h.sequence INTO STRICT base FROM qerds.event_head h FOR UPDATE;
    WITH gone AS (
        DELETE FROM qerds.event_unsequenced u WHERE u.id = ANY (ARRAY(
            SELECT p.id FROM qerds.event_unsequenced p WHERE p.id >= lowest ORDER BY p.id LIMIT most))
        RETURNING u.id, u.type, u.sender, u.delivery, u.subject, u.state, u.at, u.ref),
    placed AS (
        INSERT INTO qerds.event (sequence, id, type, time, sender, delivery, subject, number, client_ref, state, evidence)
        SELECT base + row_number() OVER (ORDER BY g.id), gen_random_uuid(), g.type, coalesce(e.event_time, g.at), g.sender,
               g.delivery, g.subject, d.number, coalesce(d.client_ref, g.ref), g.state, e.evidence
        FROM gone g
        LEFT JOIN qerds.delivery d ON d.id = g.delivery
        LEFT JOIN qerds.event_type t ON t.type = g.type
        LEFT JOIN LATERAL (SELECT v.evidence, v.event_time FROM qerds.evidence v
                           WHERE v.delivery = g.delivery AND v.event = t.proof ORDER BY v.sequence DESC LIMIT 1) e ON true)
    SELECT count(*), max(g.id) INTO sequenced, newest FROM gone g;
    IF sequenced > 0 THEN
        UPDATE qerds.event_head h SET sequence = base + sequenced;
    END IF;
END $$;

CREATE FUNCTION qerds.note_consent_answer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, ref)
    SELECT 'consent.' || NEW.answer, r.sender, r.ref FROM qerds.consent_request r WHERE r.id = NEW.request;
    RETURN NULL;
END $$;
CREATE TRIGGER note_consent_answer AFTER INSERT ON qerds.consent_answer
    FOR EACH ROW EXECUTE FUNCTION qerds.note_consent_answer();

CREATE FUNCTION qerds.note_consent_withdrawal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, ref) VALUES ('consent.withdrawn', NEW.sender, NEW.ref);
    RETURN NULL;
END $$;
CREATE TRIGGER note_consent_withdrawal AFTER INSERT ON qerds.consent_withdrawal
    FOR EACH ROW EXECUTE FUNCTION qerds.note_consent_withdrawal();
REVOKE ALL ON FUNCTION qerds.note_consent_answer(), qerds.note_consent_withdrawal() FROM PUBLIC;

-- ------------------------------------------------------------------ who may do what
-- gateway: asks and takes answers; of the mail it knows the link's digest, never the link
GRANT SELECT ON qerds.consent_request TO qerds_gateway, qerds_notify;
GRANT INSERT (id, sender, ref, email, given_names, birth_name, language, expires_at) ON qerds.consent_request TO qerds_gateway;
GRANT SELECT (request, link_sha256) ON qerds.consent_mail TO qerds_gateway;
GRANT SELECT (request, outcome, at) ON qerds.consent_mail_result TO qerds_gateway;
GRANT SELECT, INSERT (request, answer, language, text, text_sha256) ON qerds.consent_answer TO qerds_gateway;
GRANT INSERT ON outbox.notify TO qerds_gateway;

-- notify: writes the mail and what became of it; reads no answer
GRANT SELECT, INSERT ON qerds.consent_mail TO qerds_notify;
GRANT SELECT, INSERT (request, outcome, code, detail) ON qerds.consent_mail_result TO qerds_notify;

-- operate: whether each request is on its way, not whom it is about
GRANT SELECT (id, expires_at) ON qerds.consent_request TO qerds_operate;
GRANT SELECT (request) ON qerds.consent_mail, qerds.consent_mail_result, qerds.consent_answer TO qerds_operate;
