-- What must hold between the clocks that a letter's times come from: each query is one predicate of docs/invariants.md, as in
-- ledger.sql. A demo clock goes forward only: what was ahead at an event is ahead at most as much as the demo clock is now.

-- name: ledger_event_is_not_before_its_predecessor
-- Nor the first before the submission.
SELECT e.evidence::text AS subject, e.event || ' ' || e.event_time AS detail
FROM qerds.evidence e JOIN qerds.delivery d ON d.id = e.delivery
LEFT JOIN qerds.evidence p ON p.delivery = e.delivery AND p.sequence = e.sequence - 1
WHERE e.event_time < greatest(p.event_time, date_trunc('milliseconds', d.submitted_at)) LIMIT $1::integer;

-- name: ledger_event_is_of_its_drafts_time
-- Not later than its row was written, and not earlier than a decision may wait for the bridge (an intent lives 60 s): a date that
-- whoever drafts has made up is neither.
SELECT e.evidence::text AS subject, e.event || ' ' || e.event_time || ', drafted ' || e.drafted_at AS detail
FROM qerds.evidence e CROSS JOIN (SELECT qerds.legal_now() - clock_timestamp() AS ahead) c
WHERE e.event_time > e.drafted_at + c.ahead + interval '1 s' OR e.event_time < e.drafted_at - interval '120 s' LIMIT $1::integer;

-- name: ledger_token_is_not_later
-- Than its row was written, but for the second that two clocks that are right may be apart.
SELECT t.evidence::text AS subject, t.gen_time || ', stored ' || t.stamped_at AS detail
FROM qerds.evidence_token t CROSS JOIN (SELECT qerds.legal_now() - clock_timestamp() AS ahead) c
WHERE t.gen_time > t.stamped_at + c.ahead + interval '1 s' LIMIT $1::integer;

-- name: ledger_proved_late
-- No predicate: how many events were the service's word alone for more than $1 seconds, and the longest of them.
SELECT count(*) AS evidences, coalesce(max(extract(epoch FROM t.gen_time - e.event_time)), 0)::float8 AS longest_seconds
FROM qerds.evidence e JOIN qerds.evidence_token t ON t.evidence = e.evidence
WHERE t.gen_time > e.event_time + make_interval(secs => $1::float8);
