-- Who may do what. A process kind gets the verbs its stage file uses and nothing else; tests/db/test_grants.py reads
-- this back and tries the forbidden ones.

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA qerds, outbox TO
    qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp, qerds_notify, qerds_expire, qerds_archive,
    qerds_bridge, qerds_operate;

-- ------------------------------------------------------------------ mailboxes: each stage empties its own
-- SELECT ... FOR UPDATE asks for UPDATE on one column; `attempts` is that column and no query updates it.
DO $$
DECLARE
    stage text;
BEGIN
    FOREACH stage IN ARRAY ARRAY['ingest', 'encrypt', 'seal', 'timestamp', 'notify', 'expire', 'archive'] LOOP
        EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (attempts) ON outbox.%I, outbox.%I TO %I',
                       stage, stage || '_running', 'qerds_' || stage);
        EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (attempts) ON outbox.timer, outbox.legal_timer TO %I', 'qerds_' || stage);
        EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (seen_at) ON outbox.process TO %I', 'qerds_' || stage);
        EXECUTE format('GRANT INSERT ON outbox.dead TO %I', 'qerds_' || stage);
        EXECUTE format('GRANT SELECT ON outbox.%I, outbox.%I TO qerds_operate', stage, stage || '_running');
        EXECUTE format('GRANT INSERT ON outbox.%I TO qerds_operate', stage);
    END LOOP;
END $$;
GRANT SELECT ON outbox.timer, outbox.legal_timer, outbox.process TO qerds_operate;
GRANT SELECT, DELETE, UPDATE (attempts) ON outbox.dead TO qerds_operate;

-- ... and writes the outboxes its emissions go to (pipeline/delivery/routes.py).
GRANT INSERT ON outbox.ingest, outbox.seal, outbox.archive TO qerds_gateway;
GRANT INSERT ON outbox.encrypt, outbox.seal      TO qerds_ingest;
GRANT INSERT ON outbox.seal                      TO qerds_encrypt;
GRANT INSERT ON outbox.timestamp                 TO qerds_seal;
GRANT INSERT ON outbox.notify, outbox.archive    TO qerds_timestamp;
GRANT INSERT ON outbox.seal                      TO qerds_notify;
GRANT INSERT ON outbox.seal                      TO qerds_expire;

-- A timer belongs to the stage that will receive it, a process row to its own kind.
ALTER TABLE outbox.timer ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox.legal_timer ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox.process ENABLE ROW LEVEL SECURITY;
CREATE POLICY add_timer   ON outbox.timer       FOR INSERT WITH CHECK (true);
CREATE POLICY add_timer   ON outbox.legal_timer FOR INSERT WITH CHECK (true);
CREATE POLICY see_timer   ON outbox.timer       FOR SELECT USING (current_user IN ('qerds_' || stage, 'qerds_operate'));
CREATE POLICY see_timer   ON outbox.legal_timer FOR SELECT USING (current_user IN ('qerds_' || stage, 'qerds_operate'));
CREATE POLICY take_timer  ON outbox.timer       FOR DELETE USING (current_user = 'qerds_' || stage);
CREATE POLICY take_timer  ON outbox.legal_timer FOR DELETE USING (current_user = 'qerds_' || stage);
CREATE POLICY lock_timer  ON outbox.timer       FOR UPDATE USING (current_user = 'qerds_' || stage);
CREATE POLICY lock_timer  ON outbox.legal_timer FOR UPDATE USING (current_user = 'qerds_' || stage);
CREATE POLICY see_process ON outbox.process     FOR SELECT USING (current_user IN ('qerds_' || kind, 'qerds_operate'));
CREATE POLICY own_process ON outbox.process     FOR ALL    USING (current_user = 'qerds_' || kind)
                                                           WITH CHECK (current_user = 'qerds_' || kind);

-- ------------------------------------------------------------------ reading
GRANT SELECT ON qerds.installation, qerds.legal_clock, qerds.published_key, qerds.published_document TO
    qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp, qerds_notify, qerds_expire, qerds_archive,
    qerds_bridge, qerds_operate;
GRANT SELECT ON qerds.sender, qerds.delivery, qerds.delivery_document, qerds.upload, qerds.evidence, qerds.evidence_seal,
    qerds.evidence_token TO
    qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp, qerds_notify, qerds_expire, qerds_archive,
    qerds_operate;
GRANT SELECT ON qerds.consent, qerds.consent_withdrawal TO qerds_gateway, qerds_ingest, qerds_encrypt;
GRANT SELECT ON qerds.acceptance_window TO qerds_gateway, qerds_notify, qerds_expire, qerds_archive, qerds_operate;
GRANT SELECT ON qerds.upload_segment TO qerds_encrypt, qerds_gateway;

-- ------------------------------------------------------------------ writing, kind by kind
-- gateway: one row or one upload per request; drafts of the recipient's own acts only (policy below)
GRANT SELECT ON qerds.sender_client, qerds.content_wrap, qerds.snapshot, qerds.identification, qerds.decision_intent,
    qerds.handover, qerds.idempotency, qerds.access_token TO qerds_gateway;
GRANT INSERT ON qerds.access_token, qerds.client_assertion, qerds.consent, qerds.consent_withdrawal, qerds.upload, qerds.upload_segment,
    qerds.delivery_document, qerds.idempotency, qerds.identification, qerds.decision_intent,
    qerds.handover, qerds.object_mark TO qerds_gateway;
GRANT INSERT (id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind, recipient_email,
    given_names, birth_name, usage_name, birth_date, organisation_name, organisation_siren, language, consent_ref,
    subject, metadata, submitted_at) ON qerds.delivery TO qerds_gateway;             -- never the state
GRANT DELETE, SELECT ON qerds.idempotency, qerds.access_token, qerds.client_assertion TO qerds_gateway;   -- what has run out
GRANT SELECT, INSERT, UPDATE, DELETE ON qerds.portal_session TO qerds_gateway;
GRANT SELECT (delivery, ordinal, notice_date, last_day, language, claim_sha256, prepared_at) ON qerds.notice TO qerds_gateway;
GRANT SELECT ON qerds.notice_result TO qerds_gateway, qerds_archive, qerds_operate;

-- ON CONFLICT asks for SELECT on the columns it arbitrates by.
GRANT INSERT, SELECT (delivery) ON qerds.content_wrap TO qerds_encrypt;
GRANT SELECT (object) ON qerds.object_mark TO qerds_gateway;
GRANT SELECT, INSERT ON qerds.notice, qerds.notice_result, qerds.acceptance_window TO qerds_notify;
GRANT SELECT (delivery, ordinal, notice_date, last_day, language, message_id, text_sha256, prepared_at) ON qerds.notice TO qerds_operate;
GRANT INSERT ON qerds.evidence_seal TO qerds_seal;
GRANT INSERT ON qerds.evidence_token TO qerds_timestamp;
GRANT UPDATE (state, stamped_through) ON qerds.delivery TO qerds_timestamp;          -- here and nowhere else
GRANT SELECT ON qerds.transition TO qerds_timestamp;                                 -- what the guard of it compares with
GRANT SELECT, INSERT ON qerds.snapshot TO qerds_archive;
GRANT SELECT, DELETE ON qerds.object_mark TO qerds_archive;
GRANT INSERT ON qerds.published_key, qerds.published_document TO qerds_bridge;
GRANT INSERT ON qerds.sender, qerds.sender_client TO qerds_operate;
GRANT SELECT ON qerds.sender_client TO qerds_operate;
GRANT SELECT, INSERT, UPDATE ON qerds.legal_clock TO qerds_operate;

-- log leaves: written with the fact, by whoever writes the fact; sequenced when the log exists
GRANT INSERT ON qerds.log_leaf TO qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp, qerds_notify,
    qerds_expire, qerds_archive;

-- ------------------------------------------------------------------ drafts: by role and event
-- SELECT and INSERT only; nobody updates or deletes. A process taken over can forge no event that is not its own.
GRANT INSERT (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, seal_key_id, receipt)
    ON qerds.evidence TO qerds_gateway, qerds_ingest, qerds_encrypt, qerds_notify, qerds_expire;
ALTER TABLE qerds.evidence ENABLE ROW LEVEL SECURITY;
CREATE POLICY read_evidence ON qerds.evidence FOR SELECT USING (true);
CREATE POLICY draft_gateway ON qerds.evidence FOR INSERT TO qerds_gateway WITH CHECK (event IN ('C.3', 'C.4', 'D.1', 'E.1'));
CREATE POLICY draft_ingest  ON qerds.evidence FOR INSERT TO qerds_ingest  WITH CHECK (event = 'A.2');
CREATE POLICY draft_encrypt ON qerds.evidence FOR INSERT TO qerds_encrypt WITH CHECK (event IN ('A.1', 'A.2'));
CREATE POLICY draft_notify  ON qerds.evidence FOR INSERT TO qerds_notify  WITH CHECK (event IN ('C.1', 'C.2'));
CREATE POLICY draft_expire  ON qerds.evidence FOR INSERT TO qerds_expire  WITH CHECK (event IN ('C.5', 'E.2'));

-- ------------------------------------------------------------------ functions
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA qerds, outbox FROM PUBLIC;
GRANT EXECUTE ON FUNCTION qerds.legal_now() TO
    qerds_gateway, qerds_ingest, qerds_encrypt, qerds_seal, qerds_timestamp, qerds_notify, qerds_expire, qerds_archive,
    qerds_bridge, qerds_operate;
GRANT EXECUTE ON FUNCTION qerds.lock_deliveries(uuid[]) TO
    qerds_gateway, qerds_ingest, qerds_encrypt, qerds_timestamp, qerds_notify, qerds_expire;
