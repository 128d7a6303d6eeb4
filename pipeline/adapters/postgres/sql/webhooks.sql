-- Webhooks: what is to be sent, what came of it, and what their senders ask for. See docs/events.md.

-- name: read_webhooks
-- Webhooks with the one event that is due for another try. Real time: an endpoint knows nothing of the demo clock.
SELECT w.id, w.url, w.signature, s.secret, w.enabled, w.generation, w.read_through, w.failures,
       coalesce(w.paused_until > c.now, false) AS paused, w.last_success_at, d.tries, d.first_at,
       (SELECT count(*) FROM qerds.webhook_retry r WHERE r.webhook = w.id) AS set_aside,
       d.sequence, d.event, d.type, d.time, d.delivery, d.subject, d.number, d.client_ref, d.state, d.evidence,
       d.identifications, d.persons, d.persons_near
FROM (SELECT clock_timestamp() AS now) c CROSS JOIN qerds.webhook w
LEFT JOIN qerds.webhook_secret s ON s.webhook = w.id
LEFT JOIN LATERAL (
    SELECT r.tries, r.first_at, e.sequence, e.id AS event, e.type, e.time, e.delivery, e.subject, e.number, e.client_ref, e.state,
           e.evidence, e.identifications, e.persons, e.persons_near
    FROM qerds.webhook_retry r JOIN qerds.event e ON e.sequence = r.sequence
    WHERE r.webhook = w.id AND r.due_at <= c.now ORDER BY r.due_at LIMIT 1) d ON true
WHERE w.id = ANY ($1::uuid[]);

-- name: read_webhook_events
-- What comes next for each, of the types it wants: at most $2 rows, of the $3 that are looked at. The last one looked at
-- comes along, wanted or not, so that a webhook whose filter nothing meets moves on all the same.
SELECT w.id AS webhook, l.wanted, l.sequence, l.id AS event, l.type, l.time, l.delivery, l.subject, l.number, l.client_ref, l.state,
       l.evidence, l.identifications, l.persons, l.persons_near, l.looked_through, l.looked_at
FROM qerds.webhook w
CROSS JOIN LATERAL (
    SELECT m.* FROM (
        SELECT n.*, cardinality(w.types) = 0 OR n.type = ANY (w.types) AS wanted,
               max(n.sequence) OVER () AS looked_through, count(*) OVER () AS looked_at
        FROM (SELECT e.* FROM qerds.event e WHERE e.sender = w.sender AND e.sequence > w.read_through
              ORDER BY e.sequence LIMIT $3::integer) n) m
    WHERE m.wanted OR m.sequence = m.looked_through ORDER BY m.sequence LIMIT $2::integer) l
WHERE w.id = ANY ($1::uuid[]) ORDER BY w.id, l.sequence;

-- name: claim_webhooks
-- Held by the session: an endpoint is never spoken to by two processes at once.
SELECT x.id FROM unnest($1::uuid[]) AS x(id) WHERE pg_try_advisory_lock(hashtextextended('qerds/webhook/' || x.id, 0));

-- name: release_webhooks
-- Only what this session claimed.
SELECT pg_advisory_unlock(hashtextextended('qerds/webhook/' || x.id, 0)) FROM unnest($1::uuid[]) AS x(id);

-- name: add_webhook_progress
-- Inside, before a webhook's other facts. An answer from before its sender changed something moves nothing but under_way; one
-- that a process kept while another went on moves nothing back.
UPDATE qerds.webhook w SET
    under_way = p.under_way,
    read_through = CASE WHEN w.generation = p.generation THEN greatest(p.read_through, w.read_through) ELSE w.read_through END,
    failures = CASE WHEN w.generation = p.generation THEN p.failures ELSE w.failures END,
    paused_until = CASE WHEN w.generation = p.generation THEN clock_timestamp() + make_interval(secs => p.pause_seconds)
                        ELSE w.paused_until END,
    enabled = w.enabled AND NOT (w.generation = p.generation AND p.disabled_reason IS NOT NULL),
    disabled_reason = CASE WHEN w.enabled AND w.generation = p.generation THEN p.disabled_reason ELSE w.disabled_reason END,
    last_success_at = CASE WHEN p.succeeded THEN clock_timestamp() ELSE w.last_success_at END
FROM unnest($1::uuid[], $2::integer[], $3::boolean[], $4::bigint[], $5::integer[], $6::float8[], $7::text[], $8::boolean[])
     AS p(webhook, generation, under_way, read_through, failures, pause_seconds, disabled_reason, succeeded)
WHERE w.id = p.webhook;

-- name: add_webhook_attempt
-- Inside. Of a webhook that is still there.
WITH still AS MATERIALIZED (SELECT w.id FROM qerds.webhook w WHERE w.id = ANY ($1::uuid[]) FOR KEY SHARE)
INSERT INTO qerds.webhook_attempt (webhook, event, type, attempt, outcome, status, milliseconds, next_try_at)
SELECT s.id, a.event, a.type, a.attempt, a.outcome, a.status, a.milliseconds, clock_timestamp() + make_interval(secs => a.seconds)
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::smallint[], $7::integer[], $8::float8[])
     WITH ORDINALITY AS a(webhook, event, type, attempt, outcome, status, milliseconds, seconds, place)
JOIN still s ON s.id = a.webhook ORDER BY a.place;

-- name: add_webhook_retry
-- Inside. Not when its sender has moved the cursor meanwhile: then it comes again or is not wanted.
INSERT INTO qerds.webhook_retry (webhook, sequence, tries, due_at)
SELECT w.id, r.sequence, r.tries, clock_timestamp() + make_interval(secs => r.seconds)
FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::smallint[], $5::float8[]) AS r(webhook, generation, sequence, tries, seconds)
JOIN qerds.webhook w ON w.id = r.webhook AND w.generation = r.generation
ON CONFLICT (webhook, sequence) DO UPDATE SET tries = excluded.tries, due_at = excluded.due_at;

-- name: add_webhook_settled
-- Inside. Delivered or given up.
DELETE FROM qerds.webhook_retry r USING unnest($1::uuid[], $2::bigint[]) AS s(webhook, sequence)
WHERE r.webhook = s.webhook AND r.sequence = s.sequence;

-- name: add_webhook
-- Inside. From the next event on; no row back: $6 are enough.
INSERT INTO qerds.webhook (id, sender, url, types, signature, read_through)
SELECT $1::uuid, $2::uuid, $3::text, $4::text[], $5::text, h.sequence FROM qerds.event_head h
WHERE (SELECT count(*) FROM qerds.webhook w WHERE w.sender = $2::uuid) < $6::integer
RETURNING id;

-- name: add_webhook_secret
-- Inside. Goes in and never comes out again.
INSERT INTO qerds.webhook_secret (webhook, secret) VALUES ($1::uuid, $2::bytea);

-- name: sender_webhooks
-- All of a sender's, or one.
SELECT w.id, w.url, w.types, w.signature, w.enabled, w.disabled_reason, w.read_through, w.failures, w.paused_until,
       w.last_success_at, w.created_at
FROM qerds.webhook w WHERE w.sender = $1::uuid AND ($2::uuid IS NULL OR w.id = $2::uuid) ORDER BY w.id;

-- name: change_webhook
-- Null leaves what is there; another address begins without the old one's failures.
UPDATE qerds.webhook w SET
    url = coalesce($3::text, w.url), types = coalesce($4::text[], w.types), generation = w.generation + 1,
    failures = CASE WHEN $3::text IS NULL THEN w.failures ELSE 0 END,
    paused_until = CASE WHEN $3::text IS NULL THEN w.paused_until END,
    enabled = w.enabled AND NOT $5::boolean,
    disabled_reason = CASE WHEN w.enabled AND $5::boolean THEN 'by_sender' ELSE w.disabled_reason END
WHERE w.sender = $1::uuid AND w.id = $2::uuid;

-- name: enable_webhook
-- It goes on where it stopped.
UPDATE qerds.webhook w SET enabled = true, disabled_reason = NULL, generation = w.generation + 1, failures = 0, paused_until = NULL
WHERE w.sender = $1::uuid AND w.id = $2::uuid;

-- name: replay_webhook
-- The cursor goes to $3; what was set aside behind it comes again anyway.
WITH moved AS (
    UPDATE qerds.webhook w SET read_through = $3::bigint, generation = w.generation + 1, failures = 0, paused_until = NULL
    WHERE w.sender = $1::uuid AND w.id = $2::uuid RETURNING w.id)
DELETE FROM qerds.webhook_retry r USING moved m WHERE r.webhook = m.id AND r.sequence > $3::bigint;

-- name: test_webhook
-- No row back: the last one was less than $3 seconds ago. We are not to be used for knocking at somebody's door.
UPDATE qerds.webhook w SET tested_at = clock_timestamp()
WHERE w.sender = $1::uuid AND w.id = $2::uuid
  AND (w.tested_at IS NULL OR w.tested_at < clock_timestamp() - make_interval(secs => $3::float8))
RETURNING w.id;

-- name: delete_webhook
-- With its secret, its log and what was set aside.
DELETE FROM qerds.webhook w WHERE w.sender = $1::uuid AND w.id = $2::uuid;

-- name: webhook_attempts
-- The newest first; $2 null: from the newest.
SELECT a.id, a.event, a.type, a.attempt, a.outcome, a.status, a.milliseconds, a.next_try_at, a.at
FROM qerds.webhook_attempt a WHERE a.webhook = $1::uuid AND a.id < coalesce($2::bigint, 9223372036854775807)
ORDER BY a.id DESC LIMIT $3::integer;
