-- Consent requests: a sender asks, `notify` mails, the consumer answers on a page. Locks in one order: the reference, then
-- the address.

-- name: lock_consent_ref
-- Inside: of a consent and a request with one reference, the second sees the first.
SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text || ' ' || $2::text, 1));

-- name: lock_consent_address
-- Inside: of two requests to one address, the second counts the first.
SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text || ' ' || qerds.untagged($2::text), 2));

-- name: consent_requests_to
-- Inside, under the lock: what a sender has asked a mailbox in so many days, the newest first; open: it may still be answered.
SELECT r.ref, extract(epoch FROM clock_timestamp() - r.asked_at)::float8 AS age_seconds,
       r.expires_at > clock_timestamp() AND a.request IS NULL AND m.outcome IS DISTINCT FROM 'refused' AS is_open
FROM qerds.consent_request r
LEFT JOIN qerds.consent_answer a ON a.request = r.id
LEFT JOIN qerds.consent_mail_result m ON m.request = r.id
WHERE r.sender = $1::uuid AND qerds.untagged(r.email) = qerds.untagged($2::text)
  AND r.asked_at > clock_timestamp() - make_interval(days => $3::integer)
ORDER BY r.asked_at DESC;

-- name: add_consent_request
-- Inside, under both locks.
INSERT INTO qerds.consent_request (id, sender, ref, email, given_names, birth_name, language, expires_at)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text, clock_timestamp() + make_interval(days => $8::integer));

-- name: consent_request
-- One request, by id or by its sender's reference, and what became of it.
SELECT r.id, r.sender, r.ref, r.email, r.given_names, r.birth_name, r.language, r.asked_at, r.expires_at,
       r.expires_at <= clock_timestamp() AS is_over, s.name AS sender_name, s.email AS sender_email,
       m.outcome AS mail_outcome, CASE WHEN m.outcome = 'relayed' THEN m.at END AS mailed_at,
       a.answer, a.answered_at, a.language AS answer_language, a.text, a.text_sha256, w.withdrawn_at, w.withdrawn_by
FROM qerds.consent_request r
JOIN qerds.sender s ON s.id = r.sender
LEFT JOIN qerds.consent_mail_result m ON m.request = r.id
LEFT JOIN qerds.consent_answer a ON a.request = r.id
LEFT JOIN qerds.consent_withdrawal w ON w.sender = r.sender AND w.ref = r.ref
WHERE r.id = $1::uuid OR (r.sender = $2::uuid AND r.ref = $3::text);

-- name: consent_linked
-- Where a link points to.
SELECT m.request FROM qerds.consent_mail m WHERE m.link_sha256 = $1::bytea;

-- name: answer_consent_request
-- The answer and, when it is yes, the consent: one statement. No row back: there is an answer, or the request has expired.
WITH answered AS (
    INSERT INTO qerds.consent_answer (request, answer, language, text, text_sha256)
    SELECT r.id, $2::text, $3::text, $4::text, sha256(convert_to($4::text, 'UTF8')) FROM qerds.consent_request r
    WHERE r.id = $1::uuid AND r.expires_at > clock_timestamp()
    ON CONFLICT (request) DO NOTHING RETURNING request, answer, text_sha256, answered_at),
given AS (
    INSERT INTO qerds.consent (sender, ref, email, given_names, birth_name, obtained_at, method, text_sha256)
    SELECT r.sender, r.ref, r.email, r.given_names, r.birth_name, a.answered_at, $5::text, a.text_sha256
    FROM answered a JOIN qerds.consent_request r ON r.id = a.request WHERE a.answer = 'given')
SELECT a.request FROM answered a;

-- name: withdraw_requested_consent
-- By the consumer; the first withdrawal stays, whoever made it.
INSERT INTO qerds.consent_withdrawal (sender, ref, withdrawn_by)
SELECT r.sender, r.ref, 'consumer' FROM qerds.consent_request r JOIN qerds.consent_answer a ON a.request = r.id
WHERE r.id = $1::uuid AND a.answer = 'given'
ON CONFLICT (sender, ref) DO NOTHING;

-- name: read_consent_questions
-- Requests as their mail may know them: no name of the person is selected here.
SELECT r.id AS request, s.name AS sender_name, r.email, r.language, r.expires_at, clock_timestamp() AS now, m.mail,
       x.request IS NOT NULL AS is_settled
FROM qerds.consent_request r
JOIN qerds.sender s ON s.id = r.sender
LEFT JOIN qerds.consent_mail m ON m.request = r.id
LEFT JOIN qerds.consent_mail_result x ON x.request = r.id
WHERE r.id = ANY ($1::uuid[]);

-- name: add_consent_mail
-- Prepared; nothing has left yet. Two at once: the first one is what is sent.
INSERT INTO qerds.consent_mail (request, message_id, link_sha256, text_sha256, mail, prepared_at)
SELECT m.request, m.message_id, m.link_sha256, m.text_sha256, m.mail, m.prepared_at
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::timestamptz[])
     AS m(request, message_id, link_sha256, text_sha256, mail, prepared_at)
ON CONFLICT (request) DO NOTHING;

-- name: add_consent_mail_result
-- What the relay said, once.
INSERT INTO qerds.consent_mail_result (request, outcome, code, detail)
SELECT r.request, r.outcome, r.code, r.detail
FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::text[]) AS r(request, outcome, code, detail)
ON CONFLICT (request) DO NOTHING;
