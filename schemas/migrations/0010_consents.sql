-- Consents of consumers: told by a sender, or asked for by mail and answered on a page (docs/portal.md, docs/events.md).
-- Insert-only: a request, its mail, what the relay said and the answer are rows of their own, and none is ever changed.
-- By the real clock.
--
-- Gives          consents, their withdrawals, requests for consent
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it

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
COMMENT ON TABLE qerds.consent IS 'A consent that a sender has told of. Inserts: gateway.';
CREATE TABLE qerds.consent_withdrawal (
    sender       uuid        NOT NULL,
    ref          text        NOT NULL,
    withdrawn_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    withdrawn_by text        NOT NULL DEFAULT 'sender' CHECK (withdrawn_by IN ('sender', 'consumer')),
    PRIMARY KEY (sender, ref),
    FOREIGN KEY (sender, ref) REFERENCES qerds.consent
);
COMMENT ON TABLE qerds.consent_withdrawal IS 'A consent that stands no more. Inserts: gateway.';

-- ------------------------------------------------------------------ asking for one
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
COMMENT ON TABLE qerds.consent_request IS 'A consumer who is asked for consent. Inserts: gateway.';
CREATE INDEX consent_request_by_address ON qerds.consent_request (sender, lower(email), asked_at);

CREATE TABLE qerds.consent_mail (
    request     uuid PRIMARY KEY REFERENCES qerds.consent_request,
    message_id  text        NOT NULL UNIQUE,
    link_sha256 bytea       NOT NULL UNIQUE CHECK (length(link_sha256) = 32),
    text_sha256 bytea       NOT NULL CHECK (length(text_sha256) = 32),
    mail        bytea       NOT NULL,                          -- holds the link: only `notify` reads this column
    prepared_at timestamptz NOT NULL
);
COMMENT ON TABLE qerds.consent_mail IS 'The mail of a request as it is sent, stored before its sending. Inserts: notify.';
CREATE TABLE qerds.consent_mail_result (
    request uuid PRIMARY KEY REFERENCES qerds.consent_mail,
    outcome text        NOT NULL CHECK (outcome IN ('relayed', 'refused', 'late')),
    code    smallint    NOT NULL,
    detail  text        NOT NULL CHECK (length(detail) <= 500),
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.consent_mail_result IS 'What became of that mail at the relay. Inserts: notify.';

-- The key is what makes an answer the only one: of two at once the second finds the first.
CREATE TABLE qerds.consent_answer (
    request     uuid PRIMARY KEY REFERENCES qerds.consent_request,
    answer      text        NOT NULL CHECK (answer IN ('given', 'refused')),
    language    text        NOT NULL CHECK (language IN ('fr', 'en')),
    text        text        NOT NULL,                          -- what the page showed, whole
    text_sha256 bytea       NOT NULL CHECK (text_sha256 = sha256(convert_to(text, 'UTF8'))),
    answered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.consent_answer IS 'The consumer''s answer, with the words it was given to. Inserts: gateway.';

-- ------------------------------------------------------------------ events
-- About no letter: what they name is the sender's own reference of the consent, which takes the place of a client_ref.
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
GRANT SELECT ON qerds.consent, qerds.consent_withdrawal TO qerds_gateway, qerds_ingest, qerds_encrypt;
GRANT INSERT ON qerds.consent, qerds.consent_withdrawal TO qerds_gateway;

-- gateway: asks and takes answers; of the mail it knows the link's digest, never the link
GRANT SELECT ON qerds.consent_request TO qerds_gateway, qerds_notify;
GRANT INSERT (id, sender, ref, email, given_names, birth_name, language, expires_at) ON qerds.consent_request TO qerds_gateway;
GRANT SELECT (request, link_sha256) ON qerds.consent_mail TO qerds_gateway;
GRANT SELECT (request, outcome, at) ON qerds.consent_mail_result TO qerds_gateway;
GRANT SELECT, INSERT (request, answer, language, text, text_sha256) ON qerds.consent_answer TO qerds_gateway;

-- notify: writes the mail and what became of it; reads no answer
GRANT SELECT, INSERT ON qerds.consent_mail TO qerds_notify;
GRANT SELECT, INSERT (request, outcome, code, detail) ON qerds.consent_mail_result TO qerds_notify;

-- operate: whether each request is on its way, not whom it is about
GRANT SELECT (id, expires_at) ON qerds.consent_request TO qerds_operate;
GRANT SELECT (request) ON qerds.consent_mail, qerds.consent_mail_result, qerds.consent_answer TO qerds_operate;
