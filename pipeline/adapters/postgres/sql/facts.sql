-- Facts: one insert for many of a kind, an array per field in the field order of the dataclass of the same name; and the
-- reads in bulk.

-- name: add_evidence_draft
-- With its log leaf. A second draft of the same event is refused by the unique indexes.
WITH draft AS MATERIALIZED (
    SELECT d.evidence, d.delivery, d.event, d.ordinal, d.sequence, d.event_time, d.canonical, d.sha256, d.seal_key_id, d.receipt
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::integer[], $6::timestamptz[], $7::bytea[], $8::bytea[],
                $9::text[], $10::bytea[])
         AS d(evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, seal_key_id, receipt)),
leaf AS (
    INSERT INTO qerds.log_leaf (stream, what, subject, digest) SELECT 'evidence', 'draft', d.evidence, d.sha256 FROM draft d)
INSERT INTO qerds.evidence (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, seal_key_id, receipt)
SELECT d.evidence, d.delivery, d.event, d.ordinal, d.sequence, d.event_time, d.canonical, d.sha256, d.seal_key_id, d.receipt
FROM draft d;

-- name: add_evidence_seal
-- The first committed seal wins: ECDSA is randomised, two seals over the same bytes say the same thing.
WITH won AS (
    INSERT INTO qerds.evidence_seal (evidence, signature, key_id)
    SELECT s.evidence, s.signature, s.key_id FROM unnest($1::uuid[], $2::bytea[], $3::text[]) AS s(evidence, signature, key_id)
    ON CONFLICT (evidence) DO NOTHING RETURNING evidence, signature)
INSERT INTO qerds.log_leaf (stream, what, subject, digest)
SELECT 'evidence', 'seal', w.evidence, sha256(w.signature) FROM won w;

-- name: add_evidence_token
-- The first committed token wins.
WITH won AS (
    INSERT INTO qerds.evidence_token (evidence, token, gen_time)
    SELECT t.evidence, t.token, t.gen_time FROM unnest($1::uuid[], $2::bytea[], $3::timestamptz[]) AS t(evidence, token, gen_time)
    ON CONFLICT (evidence) DO NOTHING RETURNING evidence, token)
INSERT INTO qerds.log_leaf (stream, what, subject, digest)
SELECT 'evidence', 'token', w.evidence, sha256(w.token) FROM won w;

-- name: add_content_wrap
-- One wrap per delivery; the first committed one wins, both open to the same keys.
INSERT INTO qerds.content_wrap (delivery, key_id, context, wrapped)
SELECT w.delivery, w.key_id, w.context, w.wrapped
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[]) AS w(delivery, key_id, context, wrapped)
ON CONFLICT (delivery) DO NOTHING;

-- name: add_upload_wrap
-- One wrap per upload; the first committed one wins, both open to the same keys.
INSERT INTO qerds.upload_wrap (upload, key_id, context, wrapped, sha3_256, open_until)
SELECT w.upload, w.key_id, w.context, w.wrapped, w.sha3_256, w.open_until
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::timestamptz[])
    AS w(upload, key_id, context, wrapped, sha3_256, open_until)
ON CONFLICT (upload) DO NOTHING;

-- name: add_notice
-- Prepared; nothing has left yet.
INSERT INTO qerds.notice (delivery, ordinal, notice_date, last_day, language, message_id, claim_sha256, text_sha256, mail, prepared_at)
SELECT n.delivery, n.ordinal, n.notice_date, n.last_day, n.language, n.message_id, n.claim_sha256, n.text_sha256, n.mail, n.prepared_at
FROM unnest($1::uuid[], $2::smallint[], $3::date[], $4::date[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::bytea[],
            $10::timestamptz[])
     AS n(delivery, ordinal, notice_date, last_day, language, message_id, claim_sha256, text_sha256, mail, prepared_at);

-- name: add_notice_result
-- What the relay said of one ordinal, once.
INSERT INTO qerds.notice_result (delivery, ordinal, outcome, code, detail, at)
SELECT r.delivery, r.ordinal, r.outcome, r.code, r.detail, r.at
FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::smallint[], $5::text[], $6::timestamptz[])
     AS r(delivery, ordinal, outcome, code, detail, at);

-- name: add_acceptance_window
-- Opened once, when it is proved that the relay took the notice.
INSERT INTO qerds.acceptance_window (delivery, ordinal, last_day, expires_at)
SELECT w.delivery, w.ordinal, w.last_day, w.expires_at
FROM unnest($1::uuid[], $2::smallint[], $3::date[], $4::timestamptz[]) AS w(delivery, ordinal, last_day, expires_at);

-- name: add_identification
-- Every attempt, matching or not.
INSERT INTO qerds.identification (id, delivery, provider, outcome, level, person_sha256, proof, authenticated_at, match_kind)
SELECT i.id, i.delivery, i.provider, i.outcome, i.level, i.person_sha256, i.proof, i.authenticated_at, i.match_kind
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::timestamptz[], $9::text[])
     AS i(id, delivery, provider, outcome, level, person_sha256, proof, authenticated_at, match_kind);

-- name: add_decision_intent
-- Taken in time; transaction 2 drafts with this time or not at all.
INSERT INTO qerds.decision_intent (id, delivery, act, decided_at)
SELECT i.id, i.delivery, i.act, i.decided_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) AS i(id, delivery, act, decided_at);

-- name: add_handover
-- One response, complete or not.
INSERT INTO qerds.handover (delivery, part, complete, bytes, at)
SELECT h.delivery, h.part, h.complete, h.bytes, h.at
FROM unnest($1::uuid[], $2::smallint[], $3::boolean[], $4::bigint[], $5::timestamptz[]) AS h(delivery, part, complete, bytes, at);

-- name: add_snapshot
-- A package that is durable in the object store. Two processes writing the same n: one wins, the other starts again.
WITH made AS MATERIALIZED (
    SELECT s.delivery, s.snapshot, s.object, s.bytes, s.sha256, s.previous_sha256, s.sequence_through
    FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::bigint[], $5::bytea[], $6::bytea[], $7::integer[])
         AS s(delivery, snapshot, object, bytes, sha256, previous_sha256, sequence_through)),
leaf AS (
    INSERT INTO qerds.log_leaf (stream, what, subject, digest)
    SELECT 'evidence', 'package.' || m.snapshot, m.delivery, m.sha256 FROM made m)
INSERT INTO qerds.snapshot (delivery, snapshot, object, bytes, sha256, previous_sha256, sequence_through)
SELECT m.delivery, m.snapshot, m.object, m.bytes, m.sha256, m.previous_sha256, m.sequence_through FROM made m;

-- name: lock_deliveries
-- Inside: the row locks, in id order, and what a draft needs, read after them.
SELECT l.delivery, l.state, l.stamped_through, l.next_sequence, l.predecessor_sha256, l.drafted, l.stamped, l.expires_at,
       l.intent_alive, l.consent_stands, l.legal_time, l.not_before
FROM qerds.lock_deliveries($1::uuid[]) l;

-- name: evidence_progress
-- Inside, after the lock: how far the tokens have come.
SELECT e.delivery, e.sequence, e.event, e.ordinal, e.event_time, t.gen_time
FROM qerds.evidence e LEFT JOIN qerds.evidence_token t USING (evidence)
WHERE e.delivery = ANY ($1::uuid[]) ORDER BY e.delivery, e.sequence;

-- name: advance_deliveries
-- Inside: from exactly the state and prefix that were read under the lock; the database looks at the stamped evidence itself.
SELECT a.id FROM qerds.advance_deliveries($1::uuid[], $2::text[], $3::integer[], $4::text[], $5::integer[]) AS a(id);

-- name: legal_now
-- The time of the law.
SELECT qerds.legal_now() AS legal_now;

-- name: advance_legal_clock
-- $1 seconds. Refused but in an embedded installation; null when it would be too far ahead. For the gateway of a sandbox and
-- the operator's verb.
SELECT qerds.advance_legal_clock($1::float8) AS legal_now;

-- name: legal_clock_end
-- How far the demo clock may be moved, by the keys that are published.
SELECT qerds.legal_clock_end() AS clock_end;

-- name: read_documents
-- The documents of deliveries, in order, with the digests taken while they were streamed in; the second one of an upload
-- in parts is known when it was read back.
SELECT x.delivery, x.part, x.upload, x.file_name, x.sha256 AS declared_sha256,
       u.sender, u.content_type, u.bytes, u.sha256, coalesce(u.sha3_256, w.sha3_256) AS sha3_256
FROM qerds.delivery_document x
JOIN qerds.upload u ON u.id = x.upload
LEFT JOIN qerds.upload_wrap w ON w.upload = x.upload
WHERE x.delivery = ANY ($1::uuid[]) ORDER BY x.delivery, x.part;

-- name: read_segments
-- Where the encrypted bytes of deliveries are, in order, with the key of the pack for those that share an object. Also of
-- uploads that were read before: whether they were is another statement's answer, and another instant's.
SELECT x.delivery, x.part, g.segment, u.sender, g.upload, g.object, g.content_format, g.bytes AS plain_bytes, g.intake_key_id, g.sealed_key,
       u.created_at AS uploaded_at, g.object_offset, g.object_bytes, p.intake_key_id AS pack_key_id, p.sealed_key AS pack_sealed_key
FROM qerds.delivery_document x
JOIN qerds.upload u ON u.id = x.upload
JOIN qerds.upload_segment g ON g.upload = x.upload
LEFT JOIN qerds.pack p ON p.object = g.object
WHERE x.delivery = ANY ($1::uuid[]) ORDER BY x.delivery, x.part, g.segment;

-- name: read_upload_wraps
-- What the uploads of deliveries were found to be, each once.
SELECT w.upload, w.key_id, w.context, w.wrapped, w.sha3_256, w.open_until FROM qerds.upload_wrap w
WHERE w.upload IN (SELECT x.upload FROM qerds.delivery_document x WHERE x.delivery = ANY ($1::uuid[]));

-- name: read_consents
-- How the consent stands that a delivery names.
SELECT d.id AS delivery,
       CASE WHEN d.consent_ref IS NULL THEN 'not_needed'
            WHEN c.ref IS NULL THEN 'unknown'
            WHEN w.ref IS NOT NULL THEN 'withdrawn'
            ELSE 'given' END AS consent
FROM qerds.delivery d
LEFT JOIN qerds.consent c ON c.sender = d.sender AND c.ref = d.consent_ref
LEFT JOIN qerds.consent_withdrawal w ON w.sender = d.sender AND w.ref = d.consent_ref
WHERE d.id = ANY ($1::uuid[]);

-- name: read_drafts
-- The bytes to be sealed, with all that the row says of them.
SELECT e.evidence, e.delivery, e.event, e.sequence, e.event_time, p.sha256 AS predecessor_sha256, e.canonical, e.receipt,
       e.seal_key_id
FROM qerds.evidence e LEFT JOIN qerds.evidence p ON p.delivery = e.delivery AND p.sequence = e.sequence - 1
WHERE e.evidence = ANY ($1::uuid[]);

-- name: read_seals
-- Sealed evidence on its way to its token, with all that the row says of it.
SELECT e.evidence, e.delivery, e.event, e.sequence, e.event_time, p.sha256 AS predecessor_sha256, e.canonical, s.signature,
       e.seal_key_id
FROM qerds.evidence e JOIN qerds.evidence_seal s USING (evidence)
LEFT JOIN qerds.evidence p ON p.delivery = e.delivery AND p.sequence = e.sequence - 1
WHERE e.evidence = ANY ($1::uuid[]);

-- name: read_announcements
-- What a notice may know: no sender, no subject, no file name is selected here.
SELECT d.id AS delivery, d.number, d.recipient_email, d.language, coalesce(n.ordinal, 0) + 1 AS next_ordinal
FROM qerds.delivery d
LEFT JOIN LATERAL (SELECT max(x.ordinal) AS ordinal FROM qerds.notice x WHERE x.delivery = d.id) n ON true
WHERE d.id = ANY ($1::uuid[]);

-- name: read_notices
-- Prepared notices by (delivery, ordinal).
SELECT n.delivery, n.ordinal, n.notice_date, n.last_day, d.recipient_email, n.message_id, n.claim_sha256, n.text_sha256, n.mail,
       n.prepared_at, NOT EXISTS (SELECT FROM qerds.notice later WHERE later.delivery = n.delivery AND later.ordinal > n.ordinal) AS is_latest
FROM unnest($1::uuid[], $2::smallint[]) AS k(delivery, ordinal)
JOIN qerds.notice n ON n.delivery = k.delivery AND n.ordinal = k.ordinal
JOIN qerds.delivery d ON d.id = n.delivery;

-- name: read_package_heads
-- Where the packages of deliveries stand.
SELECT d.id AS delivery, d.number, d.mode, d.stamped_through, coalesce(s.snapshot, 0) AS snapshots,
       coalesce(s.sequence_through, 0) AS snapshot_through, s.sha256 AS snapshot_sha256
FROM qerds.delivery d
LEFT JOIN LATERAL (SELECT p.snapshot, p.sequence_through, p.sha256 FROM qerds.snapshot p
                   WHERE p.delivery = d.id ORDER BY p.snapshot DESC LIMIT 1) s ON true
WHERE d.id = ANY ($1::uuid[]);

-- name: read_stamped_evidence
-- The contiguous stamped prefix of deliveries, complete.
SELECT e.delivery, e.evidence, e.event, e.sequence, e.event_time, e.canonical, s.signature, t.token, k.certificate
FROM qerds.evidence e
JOIN qerds.delivery d ON d.id = e.delivery
JOIN qerds.evidence_seal s ON s.evidence = e.evidence
JOIN qerds.evidence_token t ON t.evidence = e.evidence
JOIN qerds.published_key k ON k.key_id = e.seal_key_id
WHERE e.delivery = ANY ($1::uuid[]) AND e.sequence <= d.stamped_through
ORDER BY e.delivery, e.sequence;

-- name: active_keys
-- The newest keys of a use that may seal something new: what the bridge will allow, certificates are judged by the
-- time of the law. A draft that names any other key could never be sealed.
SELECT k.key_id, k.use, k.spki, k.certificate, k.not_before, k.until
FROM qerds.published_key k WHERE k.use = $1::text AND k.not_before <= clock_timestamp() AND k.until > (SELECT qerds.legal_now())
ORDER BY k.not_before DESC, k.key_id DESC LIMIT $2::integer;

-- name: keys_of_use
-- Every key of a use, the newest first.
SELECT k.key_id, k.use, k.spki, k.certificate, k.not_before, k.until
FROM qerds.published_key k WHERE k.use = $1::text ORDER BY k.not_before DESC, k.key_id DESC LIMIT $2::integer;

-- name: key_by_id
-- Any published key, also one that seals nothing new any more.
SELECT k.key_id, k.use, k.spki, k.certificate, k.not_before, k.until
FROM qerds.published_key k WHERE k.key_id = $1::text;

-- name: published_documents
-- The newest versions of a published document.
SELECT p.version, p.body FROM qerds.published_document p WHERE p.name = $1::text ORDER BY p.version DESC LIMIT $2::integer;

-- name: published_statements
-- What the authority states of all of them, the newest first.
SELECT s.body FROM qerds.published_statement s ORDER BY s.id DESC LIMIT $1::integer;
