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

-- name: operate_advance_clock
-- Adds seconds, so that two operators at once add up. In seconds: a day in an interval is longer when clocks change.
INSERT INTO qerds.legal_clock (ahead) VALUES (make_interval(secs => $1::float8))
ON CONFLICT (one) DO UPDATE SET ahead = legal_clock.ahead + excluded.ahead, changed_at = clock_timestamp();

-- name: operate_dead_letters
-- Oldest first; $1 stage and $2 ids narrow it down.
SELECT d.id, d.stage, d.kind, y.number, d.died_at, d.attempts, d.rescues, d.why
FROM outbox.dead d LEFT JOIN qerds.delivery y ON y.id = d.delivery
WHERE ($1::text IS NULL OR d.stage = $1::text) AND ($2::bigint[] IS NULL OR d.id = ANY ($2::bigint[]))
ORDER BY d.id LIMIT $3::integer;

-- name: operate_dead_letter
-- One, in full.
SELECT d.id, d.stage, d.kind, d.why, d.died_at, d.enqueued_at, d.lane, d.attempts, d.rescues, d.ordinal, d.delivery, d.evidence,
       y.number, y.state, e.event, d.traceparent
FROM outbox.dead d
LEFT JOIN qerds.delivery y ON y.id = d.delivery
LEFT JOIN qerds.evidence e ON e.evidence = d.evidence
WHERE d.id = $1::bigint;

-- name: operate_redrive
-- Inside. Of two operators at once one gets the row, the other nothing.
WITH back AS (
    DELETE FROM outbox.dead d WHERE d.stage = '@stage' AND d.id = ANY ($1::bigint[])
    RETURNING d.id, d.lane, d.kind, d.delivery, d.evidence, d.ordinal, d.enqueued_at, d.traceparent),
again AS (
    INSERT INTO outbox."@stage" (lane, kind, delivery, evidence, ordinal, enqueued_at, traceparent)
    SELECT b.lane, b.kind, b.delivery, b.evidence, b.ordinal, b.enqueued_at, b.traceparent FROM back b ORDER BY b.id)
SELECT b.id, '@stage'::text AS stage, b.kind, b.delivery FROM back b ORDER BY b.id;

-- name: operate_delivery
-- By public number, without a word about people.
SELECT d.id AS delivery, d.number, d.state, d.stamped_through, d.lane, d.submitted_at, w.expires_at,
       (SELECT max(s.snapshot) FROM qerds.snapshot s WHERE s.delivery = d.id) AS snapshots, qerds.legal_now() AS legal_now
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
SELECT m.stage, m.place, m.kind, e.event, m.lane, m.attempts, m.rescues, m.enqueued_at, m.due_at, p.host, p.pid
FROM outbox.message m
LEFT JOIN qerds.evidence e ON e.evidence = m.evidence
LEFT JOIN outbox.process p ON p.epoch = m.epoch
WHERE m.delivery = $1::uuid ORDER BY m.place, m.due_at, m.enqueued_at;
