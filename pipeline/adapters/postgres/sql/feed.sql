-- Events in their order: the sequencer's statements and the reading of the list. See docs/events.md.

-- name: sequence_events
-- $1 lowest number worth looking at, $2 how many at most.
SELECT s.sequenced, s.newest FROM qerds.sequence_events($1::bigint, $2::integer) s;

-- name: forget_events
-- What is older than it is kept, $1 at a time.
SELECT qerds.forget_events($1::integer) AS forgotten;

-- name: wake_webhooks
-- A message to each webhook that is idle and has a try that is due, or events that it has not read while its circuit is
-- closed: fewer than $1 failures, fewer than $2 set aside. A webhook that went idle just before an event was placed
-- is found by the next call, a second later at most: nothing depends on who was first.
WITH due AS MATERIALIZED (
    SELECT w.id FROM qerds.webhook w CROSS JOIN (SELECT clock_timestamp() AS now) c
    WHERE w.enabled AND NOT w.under_way AND (w.paused_until IS NULL OR w.paused_until <= c.now)
      AND (EXISTS (SELECT FROM qerds.webhook_retry r WHERE r.webhook = w.id AND r.due_at <= c.now)
           OR (w.failures < $1::integer
               AND EXISTS (SELECT FROM qerds.event e WHERE e.sender = w.sender AND e.sequence > w.read_through)
               AND (SELECT count(*) FROM qerds.webhook_retry r WHERE r.webhook = w.id) < $2::integer))
    ORDER BY w.id LIMIT 1000 FOR UPDATE OF w SKIP LOCKED),
told AS (
    UPDATE qerds.webhook w SET under_way = true WHERE w.id = ANY (ARRAY(SELECT d.id FROM due d)) RETURNING w.id)
INSERT INTO outbox.webhook (lane, kind, subject) SELECT 2, 'push', t.id FROM told t RETURNING 1 AS woken;

-- name: event_head
-- The last place that was given.
SELECT h.sequence FROM qerds.event_head h;

-- name: sender_list_of_events
-- $1 sender, $2 after, $3 types, $4 limit, $5 how many to look at: a filter that nothing meets must not walk over years.
-- The last row looked at comes along with no id, so that the reader goes on from there.
WITH looked AS MATERIALIZED (
    SELECT e.* FROM qerds.event e WHERE e.sender = $1::uuid AND e.sequence > $2::bigint ORDER BY e.sequence LIMIT $5::integer)
SELECT l.sequence, l.id, l.type, l.time, l.delivery, l.subject, l.number, l.client_ref, l.state, l.evidence, l.identifications,
       l.persons, l.persons_near,
       (SELECT max(a.sequence) FROM looked a) AS looked_through, (SELECT count(*) FROM looked) AS looked_at
FROM looked l WHERE cardinality($3::text[]) = 0 OR l.type = ANY ($3::text[])
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, max(a.sequence), count(*) FROM looked a
ORDER BY sequence NULLS LAST LIMIT $4::integer;

-- name: sender_events_of_delivery
-- As above, of one delivery: a few dozen events at most.
WITH looked AS MATERIALIZED (
    SELECT e.* FROM qerds.event e
    WHERE e.sender = $1::uuid AND e.delivery = $6::uuid AND e.sequence > $2::bigint ORDER BY e.sequence LIMIT $5::integer)
SELECT l.sequence, l.id, l.type, l.time, l.delivery, l.subject, l.number, l.client_ref, l.state, l.evidence, l.identifications,
       l.persons, l.persons_near,
       (SELECT max(a.sequence) FROM looked a) AS looked_through, (SELECT count(*) FROM looked) AS looked_at
FROM looked l WHERE cardinality($3::text[]) = 0 OR l.type = ANY ($3::text[])
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, max(a.sequence), count(*) FROM looked a
ORDER BY sequence NULLS LAST LIMIT $4::integer;
