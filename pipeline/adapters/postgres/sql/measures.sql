-- What the elected measurer asks, as the role qerds_ops. Each is bounded, or asked the less often the longer it takes.

-- name: ops_depths
-- $1 stages, $2 how many are counted one by one.
SELECT d.stage, d.lane, d.ready, extract(epoch FROM clock_timestamp() - d.oldest_at)::float8 AS oldest_seconds
FROM outbox.depths($1::text[], $2::integer) d;

-- name: ops_running
-- $1 stages, $2 at most so many.
SELECT h.stage, h.running FROM outbox.in_hands($1::text[], $2::integer) h;

-- name: ops_timers
-- The first one of each stage, by the clock that it is due by.
SELECT c.kind, greatest(0, extract(epoch FROM c.now - c.due_at))::float8 AS overdue_seconds
FROM (SELECT 'real' AS kind, clock_timestamp() AS now, t.due_at
      FROM unnest($1::text[]) AS s(stage)
      CROSS JOIN LATERAL (SELECT r.due_at FROM outbox.timer r WHERE r.stage = s.stage ORDER BY r.due_at, r.id LIMIT 1) t
      UNION ALL
      SELECT 'legal', l.now, t.due_at
      FROM unnest($1::text[]) AS s(stage)
      CROSS JOIN LATERAL (SELECT r.due_at FROM outbox.legal_timer r WHERE r.stage = s.stage ORDER BY r.due_at, r.id LIMIT 1) t
      CROSS JOIN (SELECT qerds.legal_now() AS now) l) c;

-- name: ops_pauses
-- In force.
SELECT p.scope, p.subject FROM outbox.pause p WHERE p.resumed_at IS NULL;

-- name: ops_dead_letters
-- The oldest $1, sorted into the few reasons that docs/operate.md tells apart.
SELECT d.stage, d.reason, count(*) AS letters, max(d.age)::float8 AS oldest_seconds
FROM (SELECT x.stage, extract(epoch FROM clock_timestamp() - x.died_at) AS age,
             CASE WHEN x.why LIKE 'spent %' THEN 'attempts' WHEN x.why LIKE 'its process died%' THEN 'process_died'
                  WHEN x.why LIKE '% denied: %' THEN 'denied' ELSE 'error' END AS reason
      FROM outbox.dead x ORDER BY x.id LIMIT $1::integer) d
GROUP BY d.stage, d.reason;

-- name: ops_legal_slack
-- For each kind of duty the letter whose instant comes first. A refusal is one from its draft on.
SELECT f.state, f.submitted_at, f.last_day, f.is_refused, qerds.legal_now() AS legal_now
FROM (SELECT s.state, d.submitted_at, NULL::date AS last_day, false AS is_refused
      FROM unnest(ARRAY['submitted', 'deposited']) AS s(state)
      CROSS JOIN LATERAL (SELECT x.submitted_at FROM qerds.delivery x
                          WHERE x.state = s.state AND x.state IN ('submitted', 'deposited', 'notified')
                          ORDER BY x.submitted_at LIMIT 1) d
      UNION ALL
      SELECT 'notified', min(d.submitted_at), min(w.last_day), e.event IS NOT DISTINCT FROM 'C.4' AS is_refused
      FROM qerds.delivery d
      JOIN qerds.acceptance_window w ON w.delivery = d.id
      LEFT JOIN qerds.evidence e ON e.delivery = d.id AND e.event IN ('C.3', 'C.4', 'C.5')
      WHERE d.state = 'notified' AND e.event IS DISTINCT FROM 'C.3'
      GROUP BY e.event IS NOT DISTINCT FROM 'C.4') f;

-- name: ops_horizon
-- Null when the owner of the schema may not see the sessions of other roles.
SELECT outbox.horizon_seconds()::float8 AS seconds;

-- name: ops_webhook_lag
-- Of each webhook the first event behind its cursor, wanted or not, and what is set aside. 3 failures: its endpoint is only
-- probed (pipeline/feed/attempts.py).
SELECT l.endpoint, max(extract(epoch FROM clock_timestamp() - l.since))::float8 AS lag_seconds
FROM (SELECT CASE WHEN w.failures < 3 AND (w.paused_until IS NULL OR w.paused_until <= clock_timestamp()) THEN 'answers'
                  ELSE 'fails' END AS endpoint, e.sequenced_at AS since
      FROM qerds.webhook w
      CROSS JOIN LATERAL (SELECT x.sequenced_at FROM qerds.event x WHERE x.sender = w.sender AND x.sequence > w.read_through
                          ORDER BY x.sequence LIMIT 1) e
      WHERE w.enabled
      UNION ALL
      SELECT 'fails', min(r.first_at) FROM qerds.webhook w JOIN qerds.webhook_retry r ON r.webhook = w.id WHERE w.enabled) l
WHERE l.since IS NOT NULL
GROUP BY l.endpoint;

-- name: ops_deposits
-- Among the newest $1 events, by lane. Both times are of the law's clock.
SELECT o.lane, percentile_disc(0.5) WITHIN GROUP (ORDER BY o.seconds) AS seconds_0_5,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY o.seconds) AS seconds_0_95, max(o.seconds) AS seconds_1
FROM (SELECT d.lane, extract(epoch FROM t.gen_time - d.submitted_at)::float8 AS seconds
      FROM (SELECT e.type, e.delivery, e.evidence, e.sequenced_at FROM qerds.event e ORDER BY e.sequence DESC LIMIT $1::integer) n
      CROSS JOIN LATERAL (SELECT x.lane, x.submitted_at FROM qerds.delivery x WHERE x.id = n.delivery LIMIT 1) d
      CROSS JOIN LATERAL (SELECT x.gen_time FROM qerds.evidence_token x WHERE x.evidence = n.evidence LIMIT 1) t
      WHERE n.type = 'delivery.deposited' AND n.sequenced_at > clock_timestamp() - interval '1 minute') o
GROUP BY o.lane;

-- name: ops_dead_rows
-- Of our tables, as statistics have it.
SELECT s.schemaname || '.' || s.relname AS table_name, s.n_dead_tup AS dead_rows
FROM pg_stat_user_tables s WHERE s.schemaname IN ('outbox', 'qerds');

-- name: ops_deliveries
-- Reads the table, so it is asked seldom.
SELECT d.state, count(*) AS deliveries FROM qerds.delivery d GROUP BY d.state;
