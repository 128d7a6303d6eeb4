-- Mailboxes. Tables and the reasons for each form: docs/mailbox.md. Every statement is one implicit transaction, but
-- those that say "inside" run in the batch's one transaction.

-- name: begin_epoch
-- Synchronous on purpose: an epoch that a crash could issue twice would let a stale ack through.
-- Lives known to be over ($5: this process's own, and those of dead processes on this host) are rescued at the next
-- sweep, not after the lease.
WITH before AS (
    UPDATE outbox.process p SET seen_at = '-infinity' WHERE p.epoch = ANY ($5::bigint[]))
INSERT INTO outbox.process (kind, host, pid, build) VALUES ($1::text, $2::text, $3::integer, $4::text) RETURNING epoch;

-- name: lives_on_host
-- Whose lives this host has, so that a restarted process need not wait for the lease of the one it replaces.
SELECT p.epoch, p.pid FROM outbox.process p WHERE p.kind = $1::text AND p.host = $2::text;

-- name: heartbeat
-- No row back: this life was taken for dead.
UPDATE outbox.process p SET seen_at = clock_timestamp()
WHERE p.epoch = $1::bigint AND p.seen_at > '-infinity' RETURNING p.epoch;

-- name: end_epoch
-- Left in good order; rows that are still running are rescued at the next sweep.
UPDATE outbox.process p SET seen_at = '-infinity' WHERE p.epoch = $1::bigint RETURNING p.epoch;

-- name: stage_standing
-- Each second, in the sweep: whether an operator holds this stage back, and what the time is there.
SELECT outbox.is_paused('stage', $1::text) AS paused, clock_timestamp() AS now;

-- name: take
-- $1 lanes, $2 watermarks, $3 caps per lane, $4 limit, $5 epoch. ctid is safe: waiting rows are never updated.
-- The commit is asynchronous: losing it in a crash undoes DELETE and INSERT together, the rows are back where they were.
WITH pick AS MATERIALIZED (
    SELECT p.tid
    FROM unnest($1::smallint[], $2::bigint[], $3::integer[]) AS l(lane, lo, cap)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS tid FROM outbox."@stage" r
        WHERE r.lane = l.lane AND r.id >= l.lo ORDER BY r.id LIMIT l.cap FOR UPDATE OF r SKIP LOCKED) p
    LIMIT $4::integer),
got AS (
    DELETE FROM outbox."@stage" r WHERE r.ctid = ANY (ARRAY(SELECT tid FROM pick))
    RETURNING r.lane, r.id, r.kind, r.subject, r.evidence, r.ordinal, r.attempts, r.rescues, r.enqueued_at, r.traceparent),
quick AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true) AS off FROM (SELECT FROM got LIMIT 1) any_row)
INSERT INTO outbox."@stage_running" AS n
    (epoch, id, lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent)
SELECT $5::bigint, g.id, g.lane, g.kind, g.subject, g.evidence, g.ordinal, g.attempts, g.rescues, g.enqueued_at, g.traceparent
FROM quick, got g
RETURNING n.id, n.lane, n.kind, n.subject, n.evidence, n.ordinal, n.attempts, n.rescues, n.enqueued_at, n.traceparent;

-- name: remove
-- Inside: the fence. What does not come back was rescued; the epoch is a parameter, never a join (docs/mailbox.md).
DELETE FROM outbox."@stage_running" r WHERE r.epoch = $1::bigint AND r.id = ANY ($2::bigint[]) RETURNING r.id;

-- name: emit
-- Inside: the next mailbox, in order.
INSERT INTO outbox."@stage" (lane, kind, subject, evidence, ordinal, traceparent)
SELECT e.lane, e.kind, e.subject, e.evidence, e.ordinal, e.traceparent
FROM unnest($1::smallint[], $2::text[], $3::uuid[], $4::uuid[], $5::smallint[], $6::text[])
     WITH ORDINALITY AS e(lane, kind, subject, evidence, ordinal, traceparent, place)
ORDER BY e.place;

-- name: emit_timer
-- Inside: a message that waits for an instant of the real clock.
INSERT INTO outbox.timer (stage, due_at, lane, kind, subject, evidence, ordinal, traceparent)
SELECT e.stage, e.due_at, e.lane, e.kind, e.subject, e.evidence, e.ordinal, e.traceparent
FROM unnest($1::text[], $2::timestamptz[], $3::smallint[], $4::text[], $5::uuid[], $6::uuid[], $7::smallint[], $8::text[])
     AS e(stage, due_at, lane, kind, subject, evidence, ordinal, traceparent);

-- name: emit_legal_timer
-- Inside: a message that waits for an instant of the law.
INSERT INTO outbox.legal_timer (stage, due_at, lane, kind, subject, evidence, ordinal, traceparent)
SELECT e.stage, e.due_at, e.lane, e.kind, e.subject, e.evidence, e.ordinal, e.traceparent
FROM unnest($1::text[], $2::timestamptz[], $3::smallint[], $4::text[], $5::uuid[], $6::uuid[], $7::smallint[], $8::text[])
     AS e(stage, due_at, lane, kind, subject, evidence, ordinal, traceparent);

-- name: postpone
-- Inside: removed messages come back after some seconds, with their history.
INSERT INTO outbox.timer (stage, due_at, lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent)
SELECT $1::text, clock_timestamp() + make_interval(secs => m.seconds), m.lane, m.kind, m.subject, m.evidence, m.ordinal,
       m.attempts, m.rescues, m.enqueued_at, m.traceparent
FROM unnest($2::float8[], $3::smallint[], $4::text[], $5::uuid[], $6::uuid[], $7::smallint[], $8::smallint[], $9::smallint[],
            $10::timestamptz[], $11::text[])
     AS m(seconds, lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent);

-- name: return_now
-- Inside: removed messages go straight back, under new ids.
INSERT INTO outbox."@stage" (lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent)
SELECT m.lane, m.kind, m.subject, m.evidence, m.ordinal, m.attempts, m.rescues, m.enqueued_at, m.traceparent
FROM unnest($1::smallint[], $2::text[], $3::uuid[], $4::uuid[], $5::smallint[], $6::smallint[], $7::smallint[],
            $8::timestamptz[], $9::text[])
     AS m(lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent);

-- name: bury
-- Inside: dead letters with their reasons.
INSERT INTO outbox.dead (stage, why, lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent)
SELECT $1::text, m.why, m.lane, m.kind, m.subject, m.evidence, m.ordinal, m.attempts, m.rescues, m.enqueued_at, m.traceparent
FROM unnest($2::text[], $3::smallint[], $4::text[], $5::uuid[], $6::uuid[], $7::smallint[], $8::smallint[], $9::smallint[],
            $10::timestamptz[], $11::text[])
     AS m(why, lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent);

-- name: rescue
-- $1 kind, $2 seconds of a lease. Rows of dead epochs go back under new ids; from the second rescue one at a time.
-- Process row first, running rows second, here as everywhere.
WITH lost AS MATERIALIZED (
    SELECT p.epoch FROM outbox.process p
    WHERE p.kind = $1::text AND p.seen_at < clock_timestamp() - make_interval(secs => $2::float8)
    ORDER BY p.epoch LIMIT 10 FOR UPDATE OF p SKIP LOCKED),
back AS (
    DELETE FROM outbox."@stage_running" r WHERE r.epoch = ANY (ARRAY(SELECT l.epoch FROM lost l))
    RETURNING r.id, r.lane, r.kind, r.subject, r.evidence, r.ordinal, r.attempts, r.rescues, r.enqueued_at, r.traceparent),
again AS (
    INSERT INTO outbox."@stage" (lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent)
    SELECT CASE WHEN b.rescues >= 1 THEN b.lane | 1 ELSE b.lane END, b.kind, b.subject, b.evidence, b.ordinal, b.attempts,
           b.rescues + 1, b.enqueued_at, b.traceparent
    FROM back b ORDER BY b.id),
gone AS (
    DELETE FROM outbox.process p WHERE p.epoch = ANY (ARRAY(SELECT l.epoch FROM lost l)))
SELECT (SELECT count(*) FROM lost) AS epochs, (SELECT count(*) FROM back) AS rows;

-- name: rescue_orphans
-- Rows whose epoch has no process row: a life taken for dead that took once more before it knew. Full sweeps only.
WITH back AS (
    DELETE FROM outbox."@stage_running" r
    WHERE NOT EXISTS (SELECT FROM outbox.process p WHERE p.epoch = r.epoch)
    RETURNING r.id, r.lane, r.kind, r.subject, r.evidence, r.ordinal, r.attempts, r.rescues, r.enqueued_at, r.traceparent),
again AS (
    INSERT INTO outbox."@stage" (lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent)
    SELECT CASE WHEN b.rescues >= 1 THEN b.lane | 1 ELSE b.lane END, b.kind, b.subject, b.evidence, b.ordinal, b.attempts,
           b.rescues + 1, b.enqueued_at, b.traceparent
    FROM back b ORDER BY b.id)
SELECT (SELECT count(*) FROM back) AS rows;

-- name: fire_timers
-- Due retries of this stage, a hundred at a time. The clock is read once, in a subquery: called per row, being volatile,
-- it would be no bound for the index, and each sweep would walk over every timer of the future. So would a join by the key
-- that was planned while there were few; ctid is safe, because the rows are locked.
WITH due AS MATERIALIZED (
    SELECT t.ctid AS tid FROM outbox.timer t
    WHERE t.stage = '@stage' AND t.due_at <= (SELECT clock_timestamp())
    ORDER BY t.due_at, t.id LIMIT 100 FOR UPDATE OF t SKIP LOCKED),
gone AS (
    DELETE FROM outbox.timer t WHERE t.ctid = ANY (ARRAY(SELECT d.tid FROM due d))
    RETURNING t.due_at, t.id, t.lane, t.kind, t.subject, t.evidence, t.ordinal, t.attempts, t.rescues, t.enqueued_at, t.traceparent),
again AS (
    INSERT INTO outbox."@stage" (lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent)
    SELECT g.lane, g.kind, g.subject, g.evidence, g.ordinal, g.attempts, g.rescues, g.enqueued_at, g.traceparent
    FROM gone g ORDER BY g.due_at, g.id)
SELECT (SELECT count(*) FROM gone) AS rows;

-- name: fire_legal_timers
-- Due deadlines of this stage, a hundred at a time, by the time of the law.
WITH due AS MATERIALIZED (
    SELECT t.ctid AS tid FROM outbox.legal_timer t
    WHERE t.stage = '@stage' AND t.due_at <= (SELECT qerds.legal_now())
    ORDER BY t.due_at, t.id LIMIT 100 FOR UPDATE OF t SKIP LOCKED),
gone AS (
    DELETE FROM outbox.legal_timer t WHERE t.ctid = ANY (ARRAY(SELECT d.tid FROM due d))
    RETURNING t.due_at, t.id, t.lane, t.kind, t.subject, t.evidence, t.ordinal, t.attempts, t.rescues, t.enqueued_at, t.traceparent),
again AS (
    INSERT INTO outbox."@stage" (lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at, traceparent)
    SELECT g.lane, g.kind, g.subject, g.evidence, g.ordinal, g.attempts, g.rescues, g.enqueued_at, g.traceparent
    FROM gone g ORDER BY g.due_at, g.id)
SELECT (SELECT count(*) FROM gone) AS rows;

-- name: ring
-- After a commit, never inside one: NOTIFY in a data transaction serialises every commit (13x at a 1 ms flush).
SELECT pg_notify('doorbell', s.stage) FROM unnest($1::text[]) AS s(stage);
