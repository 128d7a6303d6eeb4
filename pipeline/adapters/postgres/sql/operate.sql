-- The operator's verbs, as the role qerds_operate: enrolment, demo clock, dead letters, where a delivery is.

-- name: operate_add_sender
-- Inside. The time of identification goes into evidence, so it is the time of the law.
INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at)
VALUES (uuidv7(), $1::text, $2::text, $3::text, $4::text, qerds.legal_now()) RETURNING id;

-- name: operate_add_client
-- Inside, after its sender. The digest of a secret, or a public key.
INSERT INTO qerds.sender_client (client_id, sender, secret_sha256, public_jwk, scopes)
VALUES ($1::text, $2::uuid, $3::bytea, $4::text::jsonb, $5::text[]);

-- name: operate_clock
-- How far the time of the law is ahead; not at all without a demo clock.
SELECT i.embedded, qerds.legal_now() AS legal_now, coalesce(c.ahead, interval '0') AS ahead
FROM qerds.installation i LEFT JOIN qerds.legal_clock c ON true;

-- name: operate_dead_letters
-- Oldest first; $1 stage and $2 ids narrow it down.
SELECT d.id, d.stage, d.kind, y.number, d.died_at, d.attempts, d.rescues, d.why
FROM outbox.dead d LEFT JOIN qerds.delivery y ON y.id = d.subject
WHERE ($1::text IS NULL OR d.stage = $1::text) AND ($2::bigint[] IS NULL OR d.id = ANY ($2::bigint[]))
ORDER BY d.id LIMIT $3::integer;

-- name: operate_dead_letter
-- One, in full.
SELECT d.id, d.stage, d.kind, d.why, d.died_at, d.enqueued_at, d.lane, d.attempts, d.rescues, d.ordinal, d.subject, d.evidence,
       y.number, y.state, e.event, d.traceparent
FROM outbox.dead d
LEFT JOIN qerds.delivery y ON y.id = d.subject
LEFT JOIN qerds.evidence e ON e.evidence = d.evidence
WHERE d.id = $1::bigint;

-- name: operate_redrive
-- Inside. Of two operators at once one gets the row, the other nothing.
WITH back AS (
    DELETE FROM outbox.dead d WHERE d.stage = '@stage' AND d.id = ANY ($1::bigint[])
    RETURNING d.id, d.lane, d.kind, d.subject, d.evidence, d.ordinal, d.enqueued_at, d.traceparent),
again AS (
    INSERT INTO outbox."@stage" (lane, kind, subject, evidence, ordinal, enqueued_at, traceparent)
    SELECT b.lane, b.kind, b.subject, b.evidence, b.ordinal, b.enqueued_at, b.traceparent FROM back b ORDER BY b.id)
SELECT b.id, '@stage'::text AS stage, b.kind, b.subject FROM back b ORDER BY b.id;

-- name: operate_delivery
-- By public number, without a word about people. paused: what holds it back besides its stages.
SELECT d.id AS delivery, d.number, d.state, d.stamped_through, d.lane, d.batch, d.submitted_at, w.last_day, w.expires_at,
       (SELECT max(s.snapshot) FROM qerds.snapshot s WHERE s.delivery = d.id) AS snapshots, qerds.legal_now() AS legal_now,
       EXISTS (SELECT FROM qerds.evidence e WHERE e.delivery = d.id AND e.event = 'C.4') AS is_refused,
       ARRAY(SELECT p.scope FROM outbox.pause p WHERE p.resumed_at IS NULL
             AND (p.scope, p.subject) IN (('sender', d.sender::text), ('batch', d.batch::text))) AS paused
FROM qerds.delivery d LEFT JOIN qerds.acceptance_window w ON w.delivery = d.id
WHERE d.number = $1::text;

-- name: operate_evidences
-- In order, with the time of every step.
SELECT e.sequence, e.event, e.event_time, e.drafted_at, s.sealed_at, t.gen_time, t.stamped_at
FROM qerds.evidence e
LEFT JOIN qerds.evidence_seal s ON s.evidence = e.evidence
LEFT JOIN qerds.evidence_token t ON t.evidence = e.evidence
WHERE e.delivery = $1::uuid ORDER BY e.sequence;

-- name: operate_messages
-- Wherever they are; reads whole mailboxes, which an operator may now and then.
SELECT m.stage, m.place, m.kind, e.event, m.lane, m.attempts, m.rescues, m.enqueued_at, m.due_at, p.host, p.pid,
       CASE WHEN outbox.is_paused('stage', m.stage) THEN true END AS paused
FROM outbox.message m
LEFT JOIN qerds.evidence e ON e.evidence = m.evidence
LEFT JOIN outbox.process p ON p.epoch = m.epoch
WHERE m.subject = $1::uuid ORDER BY m.place, m.due_at, m.enqueued_at;

-- name: operate_pause
-- No row back: it is paused already.
INSERT INTO outbox.pause (scope, subject, reason) VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (scope, subject) WHERE resumed_at IS NULL DO NOTHING RETURNING since;

-- name: operate_resume
-- No row back: it was not paused.
UPDATE outbox.pause p SET resumed_at = clock_timestamp()
WHERE p.scope = $1::text AND p.subject = $2::text AND p.resumed_at IS NULL RETURNING p.since, p.reason;

-- name: operate_pauses
-- In force, oldest first.
SELECT p.scope, p.subject, p.since, p.reason FROM outbox.pause p WHERE p.resumed_at IS NULL ORDER BY p.since;

-- name: operate_subject
-- Whether there is such a sender or batch.
SELECT EXISTS (SELECT FROM qerds.sender s WHERE $1::text = 'sender' AND s.id = $2::uuid)
    OR EXISTS (SELECT FROM qerds.batch b WHERE $1::text = 'batch' AND b.id = $2::uuid) AS is_known;

-- name: operate_clients
-- Of one sender, without secrets.
SELECT c.client_id, CASE WHEN c.public_jwk IS NULL THEN 'secret' ELSE 'public key' END AS proves_itself_by, c.scopes,
       c.created_at, c.revoked_at
FROM qerds.sender_client c WHERE c.sender = $1::uuid ORDER BY c.created_at, c.client_id;

-- name: operate_rotate_client
-- One that is not revoked; from now on it proves itself by this alone.
UPDATE qerds.sender_client c SET secret_sha256 = $3::bytea, public_jwk = $4::text::jsonb
WHERE c.sender = $1::uuid AND c.client_id = $2::text AND c.revoked_at IS NULL RETURNING c.client_id;

-- name: operate_revoke_client
-- For ever, its access tokens with it.
UPDATE qerds.sender_client c SET revoked_at = clock_timestamp()
WHERE c.sender = $1::uuid AND c.client_id = $2::text AND c.revoked_at IS NULL RETURNING c.client_id;

-- name: operate_sender_window
-- $2 seconds from now, by the time of the law; negative: closed; null: no window is asked for.
UPDATE qerds.sender s SET window_until = qerds.legal_now() + make_interval(secs => $2::float8)
WHERE s.id = $1::uuid RETURNING s.window_until;

-- name: operate_sender_identity
-- Until when its identification is good; null: no end was agreed.
UPDATE qerds.sender s SET identity_valid_until = $2::timestamptz WHERE s.id = $1::uuid RETURNING s.identity_valid_until;

-- name: operate_sender_birth_date
-- Whether letters to consumers need the birth date. No row back: there is no such sender.
UPDATE qerds.sender s SET birth_date_demanded = $2::boolean WHERE s.id = $1::uuid RETURNING s.birth_date_demanded;

-- name: operate_top
-- $1 stages, $2 how many messages are counted one by one. Totals come from statistics: two of these tell a rate.
SELECT s.stage, w.interactive, w.bulk, w.interactive_seconds, w.bulk_seconds, h.running, r.waiting AS retries,
       coalesce(x.dead, 0) AS dead, p.processes,
       outbox.is_paused('stage', s.stage) AS paused, a.n_tup_ins AS arrived, b.n_tup_del AS finished
FROM unnest($1::text[]) WITH ORDINALITY AS s(stage, place)
JOIN (SELECT d.stage, sum(d.ready) FILTER (WHERE d.lane < 2)::bigint AS interactive,
             sum(d.ready) FILTER (WHERE d.lane >= 2)::bigint AS bulk,
             extract(epoch FROM clock_timestamp() - min(d.oldest_at) FILTER (WHERE d.lane < 2))::float8 AS interactive_seconds,
             extract(epoch FROM clock_timestamp() - min(d.oldest_at) FILTER (WHERE d.lane >= 2))::float8 AS bulk_seconds
      FROM outbox.depths($1::text[], $2::integer) d GROUP BY d.stage) w ON w.stage = s.stage
JOIN outbox.in_hands($1::text[], $2::integer) h ON h.stage = s.stage
JOIN pg_stat_user_tables a ON a.schemaname = 'outbox' AND a.relname = s.stage
JOIN pg_stat_user_tables b ON b.schemaname = 'outbox' AND b.relname = s.stage || '_running'
JOIN outbox.retries($1::text[], $2::integer) r ON r.stage = s.stage
LEFT JOIN (SELECT few.stage, count(*) AS dead FROM (SELECT d.stage FROM outbox.dead d ORDER BY d.id LIMIT $2::integer) few
           GROUP BY few.stage) x ON x.stage = s.stage
CROSS JOIN LATERAL (SELECT count(*) AS processes FROM outbox.process q
                    WHERE q.kind = s.stage AND q.seen_at > clock_timestamp() - interval '15 s') p
ORDER BY s.place;
