-- What no evidence states and would matter is stated by a leaf of the log, written by the statement that writes the row: who
-- identified, the bridge's receipts, consents and answers, what was ordered, what a notice's link opens, wraps, decisions, handovers, senders and
-- their clients, published keys. `ledger check` compares rows and leaves in both directions.
--
-- Gives          leaves of facts (triggers with the owner's rights), qerds.stated_facts(), salts
-- Locks          each of the tables below, while its rows are read and salted once: some 0.1 ms a letter
-- Old processes  may run: what they write is stated like everything else

-- A digest of personal data alone would still say, when its row was erased, whether it was about somebody: whoever knows the
-- person can compute it. So there is a salt in it, and the salt is in the row.
DO $$
DECLARE
    salted text;
BEGIN
    FOREACH salted IN ARRAY ARRAY['identification', 'notice', 'content_wrap', 'consent', 'consent_withdrawal', 'consent_request',
                                  'consent_mail', 'consent_mail_result', 'consent_answer', 'batch_part', 'sender'] LOOP
        EXECUTE format('ALTER TABLE qerds.%I ADD COLUMN salt uuid', salted);     -- two steps: no row is rewritten under the lock
        EXECUTE format('ALTER TABLE qerds.%I ALTER COLUMN salt SET DEFAULT gen_random_uuid()', salted);
        EXECUTE format('UPDATE qerds.%I SET salt = gen_random_uuid()', salted);
        EXECUTE format('COMMENT ON COLUMN qerds.%I.salt IS %L', salted, 'Of the digest in the row''s leaf; erased with what it salts.');
    END LOOP;
END $$;

-- A letter from its submission on: until A.1 states it, its leaf does. Letters that are there have no salt and no leaf: theirs is A.1.
ALTER TABLE qerds.delivery ADD COLUMN salt uuid;
ALTER TABLE qerds.delivery ALTER COLUMN salt SET DEFAULT gen_random_uuid();
COMMENT ON COLUMN qerds.delivery.salt IS 'Of the digest in the row''s leaf; erased with what it salts. None: a letter of before it had one.';

-- Whoever logs in as the superuser or as the owner is no process of ours: what they write by hand gets no leaf, and is seen.
CREATE FUNCTION qerds.is_process() RETURNS boolean
LANGUAGE sql STABLE AS $$     -- no SET: it is put into the statement that asks
    SELECT pg_catalog.starts_with(session_user, 'qerds_') AND session_user OPERATOR(pg_catalog.<>) 'qerds_owner'
$$;
COMMENT ON FUNCTION qerds.is_process() IS 'Whether the session is one of a process of ours, and not somebody''s hand.';
REVOKE ALL ON FUNCTION qerds.is_process() FROM PUBLIC;

CREATE FUNCTION qerds.leaf_name(about bytea) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.encode(pg_catalog.substring(pg_catalog.sha256('qerds-leaf-v1'::bytea OPERATOR(pg_catalog.||) about), 1, 16), 'hex')::uuid
$$;
COMMENT ON FUNCTION qerds.leaf_name(bytea) IS
    'The subject of a leaf whose row has no id: of a name that is no secret, or of a salt, and then it is as erasable.';
REVOKE ALL ON FUNCTION qerds.leaf_name(bytea) FROM PUBLIC;

-- The literal table: which rows are stated, under which name, and which columns the digest is of. The digest is the SHA-256 of
-- their binary form (record_send: number of columns, then type, length and value of each), which knows no time zone. A column
-- that is added later is stated by a digest of a new form, for rows that have it: old rows keep theirs.
--   mutable: a process may change the row; each version has a leaf, numbered. may_go: a process may delete it, which is stated.
DO $$
DECLARE
    fact    record;
    moment  record;
    digest  text;
    version text;
    due     text[] := '{}';
BEGIN
    FOR fact IN SELECT * FROM (VALUES
        ('identification', 'evidence', '''identification''', 'x.id', 'true', '',
         'salt, id, delivery, provider, outcome, level, person_sha256, proof, authenticated_at, at'),
        ('delivery', 'evidence', '''order''', 'x.id', 'x.salt IS NOT NULL', '',
         'salt, id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind, recipient_email, given_names, '
         'birth_name, usage_name, birth_date, organisation_name, organisation_siren, language, consent_ref, subject, metadata, submitted_at'),
        ('evidence', 'evidence', '''receipt''', 'x.evidence', 'x.receipt IS NOT NULL', '',
         'evidence, receipt'),                                          -- the receipt's MAC is salt enough
        ('content_wrap', 'evidence', '''wrap''', 'x.delivery', 'true', '',
         'salt, delivery, key_id, context, wrapped, at'),
        ('upload_wrap', 'evidence', '''content''', 'x.upload', 'true', 'may_go',
         'upload, key_id, context, wrapped, sha3_256, open_until, at'),
        ('notice', 'evidence', '''notice.'' || x.ordinal', 'x.delivery', 'true', '',
         'salt, delivery, ordinal, notice_date, last_day, language, message_id, claim_sha256, text_sha256, mail, prepared_at'),
        ('notice_result', 'evidence', '''superseded.'' || x.ordinal', 'x.delivery', 'x.outcome = ''superseded''', '',
         'delivery, ordinal, outcome, code, detail, at'),               -- C.1 and C.2 state the others
        ('decision_intent', 'evidence', '''intent''', 'x.id', 'true', '',
         'id, delivery, act, decided_at, made_at'),
        ('handover', 'evidence', '''handover.'' || x.id', 'x.delivery', 'true', '',
         'id, delivery, part, complete, bytes, at'),
        ('consent', 'evidence', '''consent''', 'qerds.leaf_name(uuid_send(x.salt))', 'true', '',
         'salt, sender, ref, email, given_names, birth_name, obtained_at, method, text_sha256, recorded_at'),
        ('consent_withdrawal', 'evidence', '''withdrawal''', 'qerds.leaf_name(uuid_send(x.salt))', 'true', '',
         'salt, sender, ref, withdrawn_at, withdrawn_by'),
        ('consent_request', 'evidence', '''consent_request''', 'x.id', 'true', '',
         'salt, id, sender, ref, email, given_names, birth_name, language, asked_at, expires_at'),
        ('consent_mail', 'evidence', '''consent_mail''', 'x.request', 'true', '',
         'salt, request, message_id, link_sha256, text_sha256, mail, prepared_at'),
        ('consent_mail_result', 'evidence', '''consent_mail_result''', 'x.request', 'true', '',
         'salt, request, outcome, code, detail, at'),
        ('consent_answer', 'evidence', '''consent_answer''', 'x.request', 'true', '',
         'salt, request, answer, language, text, text_sha256, answered_at'),
        ('batch_part', 'evidence', '''batch_part.'' || x.part', 'x.batch', 'true', 'may_go',
         'salt, batch, part, intake, sha256, bytes, lines, stored_at'),
        ('export_step', 'evidence', '''export_step.'' || x.step', 'x.export', 'true', '',
         'export, step, cursor, is_last, deliveries, object, bytes, sha256, made_at'),
        ('sender', 'security', '''sender''', 'x.id', 'true', 'mutable',
         'salt, id, name, email, identity_level, identity_method, identified_at, created_at, identity_valid_until, window_until'),
        ('sender_client', 'security', '''client''', 'qerds.leaf_name(convert_to(x.client_id, ''UTF8''))', 'true', 'mutable',
         'client_id, sender, secret_sha256, public_jwk, scopes, created_at, revoked_at'),
        ('published_key', 'security', '''key''', 'qerds.leaf_name(convert_to(x.key_id, ''UTF8''))', 'true', '',
         'key_id, use, spki, certificate, not_before, until, published_at'),
        ('published_document', 'security', '''document.'' || x.name || ''.'' || x.version',
         'qerds.leaf_name(convert_to(x.name, ''UTF8''))', 'true', '',
         'name, version, body, published_at'))
        AS f(name, stream, what, subject, stated, change, columns)
    LOOP
        digest := 'sha256(record_send(ROW(x.' || replace(fact.columns, ', ', ', x.') || ')))';
        due := due || format('SELECT %L, %s, %s, %s FROM qerds.%I x WHERE %s',
                             fact.stream, fact.what, fact.subject, digest, fact.name, fact.stated);
        version := CASE fact.change WHEN 'mutable' THEN
            format(' || (SELECT ''.'' || count(*) + 1 FROM qerds.log_leaf l WHERE l.stream = %L AND starts_with(l.what, %s || ''.'') '
                   'AND l.subject = %s)', fact.stream, fact.what, fact.subject) ELSE '' END;
        FOR moment IN SELECT * FROM (VALUES ('state', 'INSERT', 'NEW', '', true),
                                            ('state_change_of', 'UPDATE', 'NEW', '', fact.change = 'mutable'),
                                            ('state_end_of', 'DELETE', 'OLD', ' || ''.gone''', fact.change = 'may_go'))
                               AS m(prefix, operation, side, suffix, wanted) WHERE m.wanted
        LOOP
            EXECUTE format($f$
                CREATE FUNCTION qerds.%1$s_%2$s() RETURNS trigger
                LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $t$
                BEGIN
                    IF qerds.is_process() THEN
                        INSERT INTO qerds.log_leaf (stream, what, subject, digest)
                        SELECT %3$L, %4$s, %5$s, %6$s FROM (SELECT %7$s.*) x;
                    END IF;
                    RETURN NULL;
                END $t$;
                REVOKE ALL ON FUNCTION qerds.%1$s_%2$s() FROM PUBLIC;
                CREATE TRIGGER %1$s_%2$s AFTER %8$s ON qerds.%2$s FOR EACH ROW WHEN (%9$s) EXECUTE FUNCTION qerds.%1$s_%2$s()$f$,
                moment.prefix, fact.name, fact.stream, fact.what || version || moment.suffix, fact.subject, digest, moment.side,
                moment.operation, replace(fact.stated, 'x.', moment.side || '.'));
        END LOOP;
    END LOOP;
    EXECUTE 'CREATE FUNCTION qerds.stated_facts() RETURNS TABLE (stream text, what text, subject uuid, digest bytea) '
            'LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 1000000 AS $t$ '
            || array_to_string(due, E'\nUNION ALL ') || ' $t$';
END $$;
COMMENT ON FUNCTION qerds.stated_facts() IS 'The leaf that each fact must have; of one that may change, without the number of its version.';
REVOKE ALL ON FUNCTION qerds.stated_facts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION qerds.stated_facts() TO qerds_operate;

INSERT INTO qerds.log_leaf (stream, what, subject, digest)
SELECT f.stream, f.what || CASE WHEN f.what IN ('sender', 'client') THEN '.1' ELSE '' END, f.subject, f.digest FROM qerds.stated_facts() f;
