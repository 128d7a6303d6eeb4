-- The recipient's side: sessions of browsers, letters as their recipient may see them, and what acceptance discloses.
-- A session lives 15 minutes idle and one hour in all, by the real clock (pipeline/stores/portal.py has the same numbers).

-- name: portal_open_session
-- A browser followed a claim link. A hundred that have run out go with it, so that the table never needs a cleaner.
WITH over AS (
    SELECT s.session_sha256 FROM qerds.portal_session s
    WHERE s.seen_at < clock_timestamp() - interval '15 min' OR s.created_at < clock_timestamp() - interval '1 h'
    LIMIT 100 FOR UPDATE SKIP LOCKED),
gone AS (DELETE FROM qerds.portal_session s USING over o WHERE s.session_sha256 = o.session_sha256)
INSERT INTO qerds.portal_session (session_sha256, form_sha256, deliveries)
VALUES ($1::bytea, $2::bytea, ARRAY[$3::uuid]);

-- name: portal_session
-- The session, while it lives; looking at it begins the idle time anew, written once in half a minute.
WITH living AS (
    SELECT s.session_sha256, s.form_sha256, s.deliveries, s.people::text AS people, s.seen_at
    FROM qerds.portal_session s
    WHERE s.session_sha256 = $1::bytea AND s.seen_at > clock_timestamp() - interval '15 min'
      AND s.created_at > clock_timestamp() - interval '1 h'),
touched AS (
    UPDATE qerds.portal_session s SET seen_at = clock_timestamp()
    FROM living l WHERE s.session_sha256 = l.session_sha256 AND l.seen_at < clock_timestamp() - interval '30 s')
SELECT l.session_sha256, l.form_sha256, l.deliveries, l.people FROM living l;

-- name: portal_join_session
-- One more letter in the same browser.
UPDATE qerds.portal_session s SET deliveries = array_append(s.deliveries, $2::uuid)
WHERE s.session_sha256 = $1::bytea AND NOT s.deliveries @> ARRAY[$2::uuid] AND cardinality(s.deliveries) < 20
RETURNING s.session_sha256;

-- name: portal_begin_transaction
-- A sign-in starts. Those older than ten minutes go, and nobody has more than twenty open.
UPDATE qerds.portal_session s SET transactions = jsonb_build_object(
        $2::text, jsonb_build_object('begun', extract(epoch FROM clock_timestamp()), 'said', $3::text::jsonb))
    || coalesce((SELECT jsonb_object_agg(t.key, t.value) FROM (
            SELECT o.key, o.value FROM jsonb_each(s.transactions) AS o(key, value)
            WHERE (o.value ->> 'begun')::float8 > extract(epoch FROM clock_timestamp()) - 600
            ORDER BY (o.value ->> 'begun')::float8 DESC LIMIT 19) t), '{}'::jsonb)
WHERE s.session_sha256 = $1::bytea
RETURNING s.session_sha256;

-- name: portal_take_transaction
-- Once, while it is younger than ten minutes. The row lock makes "once" true for two tabs at the same moment.
WITH held AS (
    SELECT s.session_sha256, s.transactions -> $2::text AS taken FROM qerds.portal_session s
    WHERE s.session_sha256 = $1::bytea FOR UPDATE),
cut AS (
    UPDATE qerds.portal_session s SET transactions = s.transactions - $2::text
    FROM held h WHERE s.session_sha256 = h.session_sha256 AND h.taken IS NOT NULL)
SELECT h.taken ->> 'said' AS said FROM held h
WHERE (h.taken ->> 'begun')::float8 > extract(epoch FROM clock_timestamp()) - 600;

-- name: portal_renew_session
-- The same browser under a new identifier, now with a person; the hour goes on from the first opening.
UPDATE qerds.portal_session s
SET session_sha256 = $2::bytea, form_sha256 = $3::bytea, seen_at = clock_timestamp(),
    people = s.people || jsonb_build_object($4::text, $5::text::jsonb)
WHERE s.session_sha256 = $1::bytea
RETURNING s.session_sha256;

-- name: portal_claimed
-- Where a claim link points to. Any notice's link does, also a superseded one's.
SELECT n.delivery FROM qerds.notice n WHERE n.claim_sha256 = $1::bytea;

-- name: portal_letter
-- A letter as its recipient may see it before acceptance: no sender, no subject, no file name is selected here.
SELECT d.id AS delivery, d.number, d.language, d.recipient_email, d.recipient_kind, d.organisation_name, d.state,
       ARRAY(SELECT e.event FROM qerds.evidence e WHERE e.delivery = d.id) AS drafted,
       ARRAY(SELECT e.event FROM qerds.evidence e JOIN qerds.evidence_token t USING (evidence) WHERE e.delivery = d.id) AS stamped,
       n.notice_date, n.last_day, w.expires_at,
       (SELECT max(e.event_time) FROM qerds.evidence e WHERE e.delivery = d.id AND e.event IN ('C.3', 'C.4')) AS decided_at,
       EXISTS (SELECT FROM qerds.decision_intent i
               WHERE i.delivery = d.id AND i.made_at > clock_timestamp() - interval '60 s') AS intent_alive,
       qerds.legal_now() AS legal_time
FROM qerds.delivery d
LEFT JOIN LATERAL (SELECT x.notice_date, x.last_day FROM qerds.notice x
                   WHERE x.delivery = d.id ORDER BY x.ordinal DESC LIMIT 1) n ON true
LEFT JOIN qerds.acceptance_window w ON w.delivery = d.id
WHERE d.id = $1::uuid;

-- name: portal_numbered
-- A letter by its public number, among those that the session opened.
SELECT d.id AS delivery FROM qerds.delivery d WHERE d.number = $1::text AND d.id = ANY ($2::uuid[]);

-- name: portal_opened
-- What acceptance discloses; nothing before it is complete.
SELECT s.name AS sender_name, s.email AS sender_email, d.subject
FROM qerds.delivery d JOIN qerds.sender s ON s.id = d.sender
WHERE d.id = $1::uuid AND d.state IN ('accepted', 'received');

-- name: portal_documents
-- The documents of an accepted letter.
SELECT x.part, x.file_name, u.content_type, u.bytes AS plain_bytes, u.sha256,
       EXISTS (SELECT FROM qerds.handover h WHERE h.delivery = d.id AND h.part = x.part AND h.complete) AS handed_over
FROM qerds.delivery d
JOIN qerds.delivery_document x ON x.delivery = d.id
JOIN qerds.upload u ON u.id = x.upload
WHERE d.id = $1::uuid AND d.state IN ('accepted', 'received')
ORDER BY x.part;

-- name: portal_segments
-- Where an accepted letter's encrypted bytes are, in the order of its content keys.
SELECT x.part, g.object, g.content_format, g.bytes AS plain_bytes, g.object_offset, g.object_bytes
FROM qerds.delivery d
JOIN qerds.delivery_document x ON x.delivery = d.id
JOIN qerds.upload_segment g ON g.upload = x.upload
WHERE d.id = $1::uuid AND d.state IN ('accepted', 'received')
ORDER BY x.part, g.segment;

-- name: portal_acceptance
-- The bridge's receipt of the acceptance.
SELECT e.receipt FROM qerds.evidence e JOIN qerds.delivery d ON d.id = e.delivery
WHERE e.delivery = $1::uuid AND e.event = 'C.3' AND d.state IN ('accepted', 'received');

-- name: portal_evidences
-- The stamped evidences of an accepted letter, in order.
SELECT e.evidence, e.event, e.event_time, t.gen_time
FROM qerds.evidence e
JOIN qerds.delivery d ON d.id = e.delivery
JOIN qerds.evidence_token t ON t.evidence = e.evidence
WHERE e.delivery = $1::uuid AND d.state IN ('accepted', 'received') AND e.sequence <= d.stamped_through
ORDER BY e.sequence;

-- name: portal_evidence
-- One of them, complete.
SELECT e.evidence, e.event, e.sequence, e.event_time, e.canonical, s.signature, t.token, k.certificate
FROM qerds.evidence e
JOIN qerds.delivery d ON d.id = e.delivery
JOIN qerds.evidence_seal s ON s.evidence = e.evidence
JOIN qerds.evidence_token t ON t.evidence = e.evidence
JOIN qerds.published_key k ON k.key_id = e.seal_key_id
WHERE e.delivery = $1::uuid AND e.evidence = $2::uuid AND d.state IN ('accepted', 'received')
  AND e.sequence <= d.stamped_through;

-- name: portal_wrap
-- The wrapped content keys and the context that names the addressee to the bridge.
SELECT w.key_id, w.wrapped, w.context FROM qerds.content_wrap w WHERE w.delivery = $1::uuid;

-- name: portal_recent_mismatches
-- The retry cap: how often this person was not the addressee in the last hour. By person: nobody else is kept out.
SELECT count(*) AS mismatches FROM qerds.identification i
WHERE i.delivery = $1::uuid AND i.at > clock_timestamp() - interval '1 h' AND i.outcome <> 'match'
  AND i.person_sha256 = $2::bytea;

-- name: portal_matched_providers
-- With whom the addressee has identified so far.
SELECT DISTINCT i.provider FROM qerds.identification i WHERE i.delivery = $1::uuid AND i.outcome = 'match';

-- name: portal_intent_known
-- Inside, after the lock: was this form submitted before?
SELECT i.id FROM qerds.decision_intent i WHERE i.id = $1::uuid;

-- name: portal_intent_lives
-- Inside, after the lock: is this very intent still good?
SELECT i.id FROM qerds.decision_intent i WHERE i.id = $1::uuid AND i.made_at > clock_timestamp() - interval '60 s';

-- name: portal_missing_parts
-- Inside, after the lock: which documents have not been sent whole yet?
SELECT x.part FROM qerds.delivery_document x
WHERE x.delivery = $1::uuid
  AND NOT EXISTS (SELECT FROM qerds.handover h WHERE h.delivery = x.delivery AND h.part = x.part AND h.complete);
