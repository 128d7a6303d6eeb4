-- Recipients: the notice, who identified for a letter, what they decided and took. And the lock of a letter, under which one
-- row decides between acceptance and expiry.
--
-- Gives          notices, acceptance windows, sessions of the portal, decisions, handovers
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it

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
COMMENT ON TABLE qerds.notice IS 'A notice as it is sent, stored before its sending. Inserts: notify.';
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
COMMENT ON TABLE qerds.notice_result IS 'What became of a notice at the relay. Inserts: notify.';
CREATE TABLE qerds.acceptance_window (
    delivery   uuid PRIMARY KEY REFERENCES qerds.delivery,
    ordinal    smallint    NOT NULL,
    last_day   date        NOT NULL,
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (delivery, ordinal) REFERENCES qerds.notice
);
COMMENT ON TABLE qerds.acceptance_window IS 'Until when a notified letter may be accepted or refused. Inserts: notify.';

-- ------------------------------------------------------------------ the recipient's acts
CREATE TABLE qerds.portal_session (
    session_sha256 bytea PRIMARY KEY CHECK (length(session_sha256) = 32),
    deliveries     uuid[]      NOT NULL,                       -- claim links opened in this browser
    transactions   jsonb       NOT NULL DEFAULT '{}',          -- open ones with the identity provider, by digest of their state
    people         jsonb       NOT NULL DEFAULT '{}',          -- by delivery: who identified in this browser, with the bridge's ticket
    form_sha256    bytea       NOT NULL,                       -- the per-session form token, hashed
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.portal_session IS 'A browser at the portal, by the digest of its cookie. Inserts: gateway.';
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
COMMENT ON TABLE qerds.identification IS 'Somebody identified for a letter, addressee or not. Inserts: gateway.';
CREATE INDEX identification_by_delivery ON qerds.identification (delivery, at);   -- retry cap on mismatch
CREATE TABLE qerds.decision_intent (
    id          uuid PRIMARY KEY,
    delivery    uuid        NOT NULL REFERENCES qerds.delivery,
    act         text        NOT NULL CHECK (act IN ('accept', 'refuse')),
    decided_at  timestamptz NOT NULL,                          -- legal time, becomes EventTime
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp() -- an intent lives 60 s of real time
);
COMMENT ON TABLE qerds.decision_intent IS
    'A decision that is being made, stored before the bridge is asked for its receipt. Inserts: gateway.';
CREATE INDEX decision_intent_by_delivery ON qerds.decision_intent (delivery, made_at);   -- is an intent alive?
CREATE TABLE qerds.handover (
    delivery    uuid        NOT NULL REFERENCES qerds.delivery,
    part        smallint    NOT NULL,
    complete    boolean     NOT NULL,
    bytes       bigint      NOT NULL,
    at          timestamptz NOT NULL,                          -- legal time
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
COMMENT ON TABLE qerds.handover IS
    'A document that was sent to its recipient; complete: once from first to last byte in one response. Inserts: gateway.';
CREATE INDEX handover_by_delivery ON qerds.handover (delivery, part);   -- is the handover complete?

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

-- ------------------------------------------------------------------ who may do what
-- The gateway knows the digest of a claim token, never the token.
GRANT SELECT (delivery, ordinal, notice_date, last_day, language, claim_sha256, prepared_at) ON qerds.notice TO qerds_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON qerds.portal_session TO qerds_gateway;
GRANT SELECT, INSERT ON qerds.identification, qerds.decision_intent, qerds.handover TO qerds_gateway;
GRANT SELECT, INSERT ON qerds.notice, qerds.notice_result, qerds.acceptance_window TO qerds_notify;
GRANT SELECT ON qerds.notice_result TO qerds_gateway, qerds_archive, qerds_operate;
GRANT SELECT ON qerds.acceptance_window TO qerds_gateway, qerds_expire, qerds_archive, qerds_operate;
GRANT SELECT (delivery, ordinal, notice_date, last_day, language, message_id, text_sha256, prepared_at) ON qerds.notice TO qerds_operate;
GRANT SELECT ON qerds.decision_intent, qerds.handover TO qerds_operate;   -- not what the identity provider said of a person
REVOKE ALL ON FUNCTION qerds.lock_deliveries(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION qerds.lock_deliveries(uuid[]) TO
    qerds_gateway, qerds_ingest, qerds_encrypt, qerds_timestamp, qerds_notify, qerds_expire;
