-- The sender API: every question about something of a sender names the sender.

-- name: sender_client
-- A client that may still ask for tokens.
SELECT c.client_id, c.sender, c.secret_sha256, c.public_jwk, c.scopes
FROM qerds.sender_client c WHERE c.client_id = $1::text AND c.revoked_at IS NULL;

-- name: add_access_token
-- Real time: OAuth knows nothing of the demo clock.
INSERT INTO qerds.access_token (token_sha256, client_id, scopes, expires_at)
VALUES ($1::bytea, $2::text, $3::text[], clock_timestamp() + make_interval(secs => $4::integer));

-- name: use_client_assertion
-- No row back: this jti was used before.
INSERT INTO qerds.client_assertion (client_id, jti, expires_at) VALUES ($1::text, $2::text, $3::timestamptz)
ON CONFLICT (client_id, jti) DO NOTHING RETURNING jti;

-- name: bearer
-- An expired token is told from an unknown one until it is forgotten; a revoked client's is unknown at once.
SELECT t.client_id, c.sender, t.scopes, t.expires_at <= clock_timestamp() AS expired, qerds.sender_bar(c.sender) AS barred,
       s.birth_date_demanded
FROM qerds.access_token t JOIN qerds.sender_client c ON c.client_id = t.client_id JOIN qerds.sender s ON s.id = c.sender
WHERE t.token_sha256 = $1::bytea AND c.revoked_at IS NULL;

-- name: sender_account
-- Who a sender is, as it was identified.
SELECT s.id AS sender, s.name, s.email, s.identity_level, s.identity_method, s.identified_at, s.birth_date_demanded
FROM qerds.sender s WHERE s.id = $1::uuid;

-- name: add_consent
-- Inside, under the reference's lock. No row back: the reference is taken, by a consent (the caller compares) or by a request.
INSERT INTO qerds.consent (sender, ref, email, given_names, birth_name, obtained_at, method, text_sha256)
SELECT $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::timestamptz, $7::text, $8::bytea
WHERE NOT EXISTS (SELECT FROM qerds.consent_request r WHERE r.sender = $1::uuid AND r.ref = $2::text)
ON CONFLICT (sender, ref) DO NOTHING RETURNING ref;

-- name: sender_consent
-- A consent and whether it still stands.
SELECT c.sender, c.ref, c.email, c.given_names, c.birth_name, c.obtained_at, c.method, c.text_sha256, w.withdrawn_at,
       w.withdrawn_by
FROM qerds.consent c LEFT JOIN qerds.consent_withdrawal w ON w.sender = c.sender AND w.ref = c.ref
WHERE c.sender = $1::uuid AND c.ref = $2::text;

-- name: withdraw_consent
-- The first withdrawal stays; nothing happens where there is no such consent.
INSERT INTO qerds.consent_withdrawal (sender, ref)
SELECT c.sender, c.ref FROM qerds.consent c WHERE c.sender = $1::uuid AND c.ref = $2::text
ON CONFLICT (sender, ref) DO NOTHING;

-- name: add_upload
-- Inside, before its segments.
INSERT INTO qerds.upload (id, sender, file_name, content_type, bytes, sha256, sha3_256, expires_at, part_bytes)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::bigint, $6::bytea, $7::bytea, $8::timestamptz, $9::bigint);

-- name: add_upload_segment
-- Inside, after its upload.
INSERT INTO qerds.upload_segment (upload, segment, object, content_format, bytes, intake_key_id, sealed_key, object_offset,
    object_bytes, sha256)
VALUES ($1::uuid, $2::smallint, $3::text, $4::text, $5::bigint, $6::text, $7::bytea, $8::bigint, $9::bigint, $10::bytea);

-- name: add_upload_part
-- No row back: this part is there already; the caller compares.
INSERT INTO qerds.upload_segment (upload, segment, object, content_format, bytes, intake_key_id, sealed_key, object_offset,
    object_bytes, sha256)
VALUES ($1::uuid, $2::smallint, $3::text, $4::text, $5::bigint, $6::text, $7::bytea, $8::bigint, $9::bigint, $10::bytea)
ON CONFLICT (upload, segment) DO NOTHING RETURNING upload;

-- name: add_pack
-- Inside, before its contents.
INSERT INTO qerds.pack (object, intake_key_id, sealed_key, bytes) VALUES ($1::text, $2::text, $3::bytea, $4::bigint);

-- name: add_packed_uploads
-- Inside, after their pack: thousands at once, their columns as arrays.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bigint[],
                         $9::bigint[], $10::uuid[])
        AS g(id, file_name, content_type, bytes, sha256, sha3_256, sealed_key, object_offset, object_bytes, sender)),
uploads AS (
    INSERT INTO qerds.upload (id, sender, file_name, content_type, bytes, sha256, sha3_256, expires_at)
    SELECT g.id, g.sender, g.file_name, g.content_type, g.bytes, g.sha256, g.sha3_256, $11::timestamptz FROM given g)
INSERT INTO qerds.upload_segment (upload, segment, object, content_format, bytes, intake_key_id, sealed_key, object_offset,
    object_bytes, sha256)
SELECT g.id, 1, $12::text, $13::text, g.bytes, $14::text, g.sealed_key, g.object_offset, g.object_bytes, g.sha256 FROM given g;

-- name: sender_uploads
-- Those that are there, theirs and whole: a part that is missing makes an upload unknown to a letter.
SELECT u.id, u.sender, u.file_name, u.content_type, u.bytes AS content_bytes, u.sha256, u.sha3_256, u.expires_at,
       u.expires_at <= clock_timestamp() AS expired, u.part_bytes
FROM qerds.upload u
WHERE u.sender = $1::uuid AND u.id = ANY ($2::uuid[])
  AND (u.part_bytes IS NULL OR u.bytes = (SELECT sum(g.bytes) FROM qerds.upload_segment g WHERE g.upload = u.id));

-- name: sender_upload_parts
-- One of theirs, with each part that is there; one row without a part when none is.
SELECT u.id, u.sender, u.file_name, u.content_type, u.bytes AS content_bytes, u.sha256, u.sha3_256, u.expires_at,
       u.expires_at <= clock_timestamp() AS expired, u.part_bytes, g.segment AS part, g.sha256 AS part_sha256
FROM qerds.upload u LEFT JOIN qerds.upload_segment g ON g.upload = u.id
WHERE u.sender = $1::uuid AND u.id = $2::uuid ORDER BY g.segment;

-- name: withdraw_upload
-- No row back: a delivery uses it. Nothing but the end of its time changes; `archive` removes it a day later.
UPDATE qerds.upload u SET expires_at = least(u.expires_at, clock_timestamp())
WHERE u.sender = $1::uuid AND u.id = $2::uuid AND NOT EXISTS (SELECT FROM qerds.delivery_document x WHERE x.upload = u.id)
RETURNING u.id;

-- name: remembered_answer
-- What was answered under an Idempotency-Key, for as long as it is kept.
SELECT i.request_sha256, i.status, i.location, i.body FROM qerds.idempotency i
WHERE i.sender = $1::uuid AND i.key = $2::text AND i.created_at > clock_timestamp() - make_interval(hours => $3::integer);

-- name: try_idempotency_lock
-- Inside: held until the end of the transaction; false while another request with the key is in work.
SELECT pg_try_advisory_xact_lock(hashtextextended($1::uuid::text || ' ' || $2::text, 0)) AS mine;

-- name: forget_old_answer
-- Inside, under the lock: a key may be used again after its time.
DELETE FROM qerds.idempotency i
WHERE i.sender = $1::uuid AND i.key = $2::text AND i.created_at <= clock_timestamp() - make_interval(hours => $3::integer);

-- name: add_idempotency
-- Inside, with the delivery: an answer is remembered exactly when its effect is there.
INSERT INTO qerds.idempotency (sender, key, request_sha256, status, location, body)
VALUES ($1::uuid, $2::text, $3::bytea, $4::smallint, $5::text, $6::bytea);

-- name: sender_delivery
-- One delivery, by id or by number.
SELECT d.id, d.number, d.client_ref, d.request_sha256, d.state, d.submitted_at, d.settled_at,
       coalesce(d.changed_at, d.submitted_at) AS changed_at, w.last_day, w.expires_at, d.stamped_through, d.batch
FROM qerds.delivery d LEFT JOIN qerds.acceptance_window w ON w.delivery = d.id
WHERE d.sender = $1::uuid AND (d.id = $2::uuid OR d.number = $3::text);

-- name: sender_delivery_by_ref
-- The one that was not rejected; uses delivery_client_ref.
SELECT d.id, d.number, d.client_ref, d.request_sha256, d.state, d.submitted_at, d.settled_at,
       coalesce(d.changed_at, d.submitted_at) AS changed_at, w.last_day, w.expires_at, d.stamped_through, d.batch
FROM qerds.delivery d LEFT JOIN qerds.acceptance_window w ON w.delivery = d.id
WHERE d.sender = $1::uuid AND d.client_ref = $2::text AND d.state <> 'rejected';

-- name: sender_deliveries_by_deposit
-- Those without a deposit last. Each state has its own place to begin after; of each at most a page is read, by
-- delivery_by_deposit. Every inner query here has a LIMIT: it stays a walk by index under any statistics, or none.
SELECT d.id, d.number, d.client_ref, d.request_sha256, d.state, d.submitted_at, d.settled_at,
       coalesce(d.changed_at, d.submitted_at) AS changed_at, w.last_day, w.expires_at, d.stamped_through, d.batch
FROM (SELECT f.*
      FROM unnest($2::text[], $3::timestamptz[], $4::uuid[]) AS s(state, at, delivery)
      CROSS JOIN LATERAL (SELECT x.*, coalesce(x.settled_at, x.submitted_at) AS at FROM qerds.delivery x
                          WHERE x.sender = $1::uuid AND x.state = s.state
                            AND (coalesce(x.settled_at, x.submitted_at), x.id) > (s.at, s.delivery)
                          ORDER BY coalesce(x.settled_at, x.submitted_at), x.id LIMIT $5::integer) f
      ORDER BY f.state IN ('submitted', 'rejected'), f.at, f.id LIMIT $5::integer) d
LEFT JOIN LATERAL (SELECT v.last_day, v.expires_at FROM qerds.acceptance_window v WHERE v.delivery = d.id LIMIT 1) w ON true
ORDER BY d.state IN ('submitted', 'rejected'), d.at, d.id;

-- name: sender_deliveries_by_batch
-- The same of one batch, by delivery_by_batch_deposit. Another sender's is looked for and not read.
SELECT d.id, d.number, d.client_ref, d.request_sha256, d.state, d.submitted_at, d.settled_at,
       coalesce(d.changed_at, d.submitted_at) AS changed_at, w.last_day, w.expires_at, d.stamped_through, d.batch
FROM (SELECT f.*
      FROM qerds.batch b, unnest($2::text[], $3::timestamptz[], $4::uuid[]) AS s(state, at, delivery)
      CROSS JOIN LATERAL (SELECT x.*, coalesce(x.settled_at, x.submitted_at) AS at FROM qerds.delivery x
                          WHERE x.batch = b.id AND x.state = s.state
                            AND (coalesce(x.settled_at, x.submitted_at), x.id) > (s.at, s.delivery)
                          ORDER BY coalesce(x.settled_at, x.submitted_at), x.id LIMIT $5::integer) f
      WHERE b.id = $6::uuid AND b.sender = $1::uuid
      ORDER BY f.state IN ('submitted', 'rejected'), f.at, f.id LIMIT $5::integer) d
LEFT JOIN LATERAL (SELECT v.last_day, v.expires_at FROM qerds.acceptance_window v WHERE v.delivery = d.id LIMIT 1) w ON true
ORDER BY d.state IN ('submitted', 'rejected'), d.at, d.id;

-- name: sender_deliveries_by_change
-- In the order in which they changed, whatever they are: the caller picks. By delivery_by_change.
SELECT d.id, d.number, d.client_ref, d.request_sha256, d.state, d.submitted_at, d.settled_at,
       coalesce(d.changed_at, d.submitted_at) AS changed_at, w.last_day, w.expires_at, d.stamped_through, d.batch
FROM (SELECT x.*, coalesce(x.changed_at, x.submitted_at) AS at FROM qerds.delivery x
      WHERE x.sender = $1::uuid AND (coalesce(x.changed_at, x.submitted_at), x.id) > ($2::timestamptz, $3::uuid)
      ORDER BY coalesce(x.changed_at, x.submitted_at), x.id LIMIT $4::integer) d
LEFT JOIN LATERAL (SELECT v.last_day, v.expires_at FROM qerds.acceptance_window v WHERE v.delivery = d.id LIMIT 1) w ON true
ORDER BY d.at, d.id;

-- name: sender_deliveries_of_ref
-- All of one client_ref, which are one and those that were rejected before it: the newest $3 of these. The caller sorts.
SELECT d.id, d.number, d.client_ref, d.request_sha256, d.state, d.submitted_at, d.settled_at,
       coalesce(d.changed_at, d.submitted_at) AS changed_at, w.last_day, w.expires_at, d.stamped_through, d.batch
FROM (SELECT x.* FROM qerds.delivery x WHERE x.sender = $1::uuid AND x.client_ref = $2::text AND x.state <> 'rejected'
      UNION ALL
      (SELECT x.* FROM qerds.delivery x WHERE x.sender = $1::uuid AND x.client_ref = $2::text AND x.state = 'rejected'
       ORDER BY x.id DESC LIMIT $3::integer)) d
LEFT JOIN LATERAL (SELECT v.last_day, v.expires_at FROM qerds.acceptance_window v WHERE v.delivery = d.id LIMIT 1) w ON true;

-- name: sender_events
-- The stamped prefix of deliveries: what their sender may know.
SELECT e.delivery, e.evidence, e.event, e.sequence, e.event_time, t.gen_time AS stamped_at, e.sha256
FROM qerds.evidence e
JOIN qerds.delivery d ON d.id = e.delivery
JOIN qerds.evidence_token t ON t.evidence = e.evidence
WHERE e.delivery = ANY ($1::uuid[]) AND e.sequence <= d.stamped_through ORDER BY e.delivery, e.sequence;

-- name: sender_snapshots
-- Packages that are durable in the object store.
SELECT s.delivery, s.snapshot, s.object, s.bytes AS package_bytes, s.sha256, s.sequence_through
FROM qerds.snapshot s WHERE s.delivery = ANY ($1::uuid[]) ORDER BY s.delivery, s.snapshot;

-- name: sender_evidence
-- One complete proof inside the stamped prefix.
SELECT e.evidence, e.event, e.sequence, e.event_time, e.canonical, s.signature, t.token, k.certificate
FROM qerds.evidence e
JOIN qerds.delivery d ON d.id = e.delivery
JOIN qerds.evidence_seal s ON s.evidence = e.evidence
JOIN qerds.evidence_token t ON t.evidence = e.evidence
JOIN qerds.published_key k ON k.key_id = e.seal_key_id
WHERE e.delivery = $1::uuid AND e.evidence = $2::uuid AND e.sequence <= d.stamped_through;

-- name: forget_access_tokens
-- An hour after they ran out, so that "expired" can be said for a while.
DELETE FROM qerds.access_token t WHERE t.expires_at < clock_timestamp() - interval '1 hour';

-- name: forget_client_assertions
-- An expired assertion is refused by its time; its jti need not be known any more.
DELETE FROM qerds.client_assertion c WHERE c.expires_at < clock_timestamp() - interval '1 hour';

-- name: forget_idempotency
-- Answers whose time is over.
DELETE FROM qerds.idempotency i WHERE i.created_at < clock_timestamp() - make_interval(hours => $1::integer);

-- name: ping
-- Whether the database answers.
SELECT 1 AS one;
