-- What must hold of the whole database at any committed instant: each query is one predicate of docs/invariants.md and
-- answers the subjects that break it. One statement sees one instant, so a running installation breaks none either.
-- $1 limits the answer: a predicate that is broken a million times need not be told a million times.
-- Each reads the tables that it is about once and joins them whole, so that its time grows with the letters and no faster.

-- name: ledger_whole_tables
-- For the rest of this transaction: no nested loop where another join is possible. The planner takes the few rows that a
-- limited answer asks for, and what it guesses of a mailbox, as a reason for one; but all is well means reading it all.
SELECT set_config('enable_nestloop', 'off', true);

-- name: ledger_delivery_has_a_next_step
-- Submitted and not at its end: a message, timer or dead letter of the step that is due exists, not just any; or of a draft.
SELECT d.id::text AS subject, d.state AS detail FROM qerds.delivery d
WHERE d.state NOT IN ('rejected', 'notice_failed', 'refused', 'unclaimed', 'received', 'uncollected')
  AND NOT EXISTS (SELECT FROM outbox.message m WHERE m.subject = d.id
                  AND ((m.stage, m.kind) IN (('seal', 'draft'), ('timestamp', 'sealed'))
                       OR (d.state, m.stage, m.kind) IN (
                           ('submitted', 'ingest', 'submitted'), ('submitted', 'encrypt', 'checked'),
                           ('deposited', 'notify', 'prepare'), ('deposited', 'notify', 'send'),
                           ('notified', 'expire', 'expire'), ('accepted', 'expire', 'access_end')))) LIMIT $1::integer;

-- name: ledger_open_window_will_close
-- A window that nobody decided has its expire message, or a timer that is due when the window and its grace are over; a
-- retry, by the real clock, is due within the hour (pipeline/process/backoff.py: within minutes).
SELECT w.delivery::text AS subject, w.expires_at::text AS detail
FROM qerds.acceptance_window w CROSS JOIN (SELECT qerds.legal_now() AS now) legal
WHERE NOT EXISTS (SELECT FROM qerds.evidence e WHERE e.delivery = w.delivery AND e.event IN ('C.2', 'C.3', 'C.4', 'C.5'))
  AND NOT EXISTS (SELECT FROM outbox.message m WHERE m.subject = w.delivery AND m.stage = 'expire' AND m.kind = 'expire'
                  AND CASE m.place WHEN 'legal_timer' THEN m.due_at <= greatest(w.expires_at, legal.now) + interval '120 s'
                                   WHEN 'timer' THEN m.due_at <= now() + interval '1 h' ELSE true END) LIMIT $1::integer;

-- name: ledger_access_will_end
-- An accepted letter without a handover has its access_end message, or its timer at midnight Paris after the 365th day: not
-- later, and not earlier, because access would end before the day that was promised.
SELECT d.id::text AS subject, d.state AS detail
FROM qerds.delivery d LEFT JOIN qerds.evidence r ON r.delivery = d.id AND r.event = 'D.1'
WHERE d.state = 'accepted'
  AND NOT EXISTS (SELECT FROM qerds.evidence e WHERE e.delivery = d.id AND e.event IN ('E.1', 'E.2'))
  AND NOT EXISTS (SELECT FROM outbox.message m WHERE m.subject = d.id AND m.stage = 'expire' AND m.kind = 'access_end'
                  AND CASE m.place WHEN 'legal_timer' THEN m.due_at = ((r.event_time AT TIME ZONE 'Europe/Paris')::date + 366)::timestamp
                                                                     AT TIME ZONE 'Europe/Paris'
                                   WHEN 'timer' THEN m.due_at <= now() + interval '1 h' ELSE true END) LIMIT $1::integer;

-- name: ledger_draft_will_be_sealed
-- A draft has its seal, or its message at `seal`.
SELECT e.evidence::text AS subject, e.event AS detail FROM qerds.evidence e
WHERE NOT EXISTS (SELECT FROM qerds.evidence_seal s WHERE s.evidence = e.evidence)
  AND NOT EXISTS (SELECT FROM outbox.message m WHERE m.stage = 'seal' AND m.evidence = e.evidence) LIMIT $1::integer;

-- name: ledger_seal_will_be_stamped
-- A seal has its token, or its message at `timestamp`.
SELECT s.evidence::text AS subject, s.key_id AS detail FROM qerds.evidence_seal s
WHERE NOT EXISTS (SELECT FROM qerds.evidence_token t WHERE t.evidence = s.evidence)
  AND NOT EXISTS (SELECT FROM outbox.message m WHERE m.stage = 'timestamp' AND m.evidence = s.evidence) LIMIT $1::integer;

-- name: ledger_outcome_will_be_preserved
-- At acceptance and at the end, a snapshot holds the whole stamped prefix, or `archive` has been told.
SELECT d.id::text AS subject, d.state AS detail FROM qerds.delivery d
WHERE d.state NOT IN ('submitted', 'deposited', 'notified')
  AND NOT EXISTS (SELECT FROM qerds.snapshot s WHERE s.delivery = d.id AND s.sequence_through >= d.stamped_through)
  AND NOT EXISTS (SELECT FROM outbox.message m WHERE m.subject = d.id AND m.kind = 'preserve') LIMIT $1::integer;

-- name: ledger_message_names_what_exists
-- No message is about a delivery, evidence, batch, export or consent request that is not there.
SELECT m.stage || '/' || m.place || '/' || m.id AS subject, m.kind AS detail FROM outbox.message m
LEFT JOIN qerds.delivery d ON d.id = m.subject
LEFT JOIN qerds.batch b ON b.id = m.subject
LEFT JOIN qerds.export x ON x.id = m.subject
LEFT JOIN qerds.consent_request r ON r.id = m.subject
LEFT JOIN qerds.evidence e ON e.evidence = m.evidence AND e.delivery = m.subject
WHERE CASE WHEN m.kind IN ('draw', 'settle', 'batch_proof') THEN b.id IS NULL
           WHEN m.kind = 'export' THEN x.id IS NULL
           WHEN m.kind IN ('ask_consent', 'mail_consent') THEN r.id IS NULL
           WHEN m.stage = 'webhook' THEN false  -- a webhook may be deleted while its message waits
           ELSE d.id IS NULL END
   OR (m.kind IN ('draft', 'sealed') AND e.evidence IS NULL) LIMIT $1::integer;

-- name: ledger_running_row_has_a_process
-- A running row carries the epoch of a process row. (For at most one full sweep a life taken for dead may leave some.)
SELECT m.stage || '/' || m.id AS subject, 'epoch ' || m.epoch AS detail FROM outbox.message m
WHERE m.place = 'running' AND NOT EXISTS (SELECT FROM outbox.process p WHERE p.epoch = m.epoch) LIMIT $1::integer;

-- name: ledger_sequence_is_contiguous
-- 1, 2, .. n, each once.
SELECT e.delivery::text AS subject, string_agg(e.sequence::text, ' ' ORDER BY e.sequence) AS detail FROM qerds.evidence e
GROUP BY e.delivery HAVING min(e.sequence) <> 1 OR max(e.sequence) <> count(*) OR count(DISTINCT e.sequence) <> count(*)
LIMIT $1::integer;

-- name: ledger_evidence_has_its_delivery
-- Proofs are checked delivery by delivery: one without would be passed over.
SELECT e.evidence::text AS subject, e.event AS detail FROM qerds.evidence e
WHERE NOT EXISTS (SELECT FROM qerds.delivery d WHERE d.id = e.delivery) LIMIT $1::integer;

-- name: ledger_one_evidence_per_fact
-- At most one deposit, one handover, one end of the notice (a decision, an expiry or a failed notice: nothing expires or is
-- decided after a bounce, and a later bounce is no evidence); every other event once per ordinal.
SELECT e.delivery::text AS subject, string_agg(e.event, ' ' ORDER BY e.sequence) AS detail FROM qerds.evidence e
GROUP BY e.delivery, CASE WHEN e.event IN ('A.1', 'A.2') THEN 'deposit' WHEN e.event IN ('C.2', 'C.3', 'C.4', 'C.5') THEN 'decision'
                          WHEN e.event IN ('E.1', 'E.2') THEN 'handover' ELSE e.event || '/' || e.ordinal END
HAVING count(*) > 1 LIMIT $1::integer;

-- name: ledger_acceptance_is_a_pair
-- C.3 and D.1 exist together, one after the other, with one EventTime.
SELECT coalesce(c.delivery, d.delivery)::text AS subject,
       concat_ws(' ', c.sequence, d.sequence, c.event_time, d.event_time) AS detail
FROM (SELECT e.delivery, e.sequence, e.event_time FROM qerds.evidence e WHERE e.event = 'C.3') c
FULL JOIN (SELECT e.delivery, e.sequence, e.event_time FROM qerds.evidence e WHERE e.event = 'D.1') d ON d.delivery = c.delivery
WHERE c.delivery IS NULL OR d.delivery IS NULL OR d.sequence <> c.sequence + 1 OR d.event_time <> c.event_time LIMIT $1::integer;

-- name: ledger_event_is_its_roles_own
-- Each event was drafted by a process kind that may; $2: event and role of each such pair, with a space between them.
SELECT e.evidence::text AS subject, concat_ws(' by ', e.event, e.drafted_by) AS detail FROM qerds.evidence e
WHERE (e.event || ' ' || e.drafted_by = ANY ($2::text[])) IS NOT TRUE LIMIT $1::integer;

-- name: ledger_receipt_is_a_recipients
-- Recipient's acts ($2) have the bridge's receipt, nothing else has one.
SELECT e.evidence::text AS subject, e.event AS detail FROM qerds.evidence e
WHERE (e.event = ANY ($2::text[])) <> (e.receipt IS NOT NULL) LIMIT $1::integer;

-- name: ledger_decision_is_in_time
-- Accepted or refused after the notice was stamped, before the window closed, at the time of a stored intent.
SELECT e.evidence::text AS subject, e.event || ' ' || e.event_time AS detail
FROM qerds.evidence e LEFT JOIN qerds.acceptance_window w ON w.delivery = e.delivery
LEFT JOIN (SELECT DISTINCT i.delivery, i.decided_at, i.act FROM qerds.decision_intent i) i
    ON i.delivery = e.delivery AND i.decided_at = e.event_time AND i.act = CASE e.event WHEN 'C.3' THEN 'accept' ELSE 'refuse' END
LEFT JOIN (SELECT c.delivery, min(c.sequence) AS sequence FROM qerds.evidence c JOIN qerds.evidence_token t ON t.evidence = c.evidence
           WHERE c.event = 'C.1' GROUP BY c.delivery) n ON n.delivery = e.delivery
WHERE e.event IN ('C.3', 'C.4')
  AND (w.expires_at IS NULL OR e.event_time >= w.expires_at OR i.delivery IS NULL OR n.sequence IS NULL OR n.sequence > e.sequence)
LIMIT $1::integer;

-- name: ledger_expiry_is_not_early
-- C.5 not before the window's end.
SELECT e.evidence::text AS subject, e.event_time::text AS detail
FROM qerds.evidence e LEFT JOIN qerds.acceptance_window w ON w.delivery = e.delivery
WHERE e.event = 'C.5' AND (w.expires_at IS NULL OR e.event_time < w.expires_at) LIMIT $1::integer;

-- name: ledger_handover_was_whole
-- E.1 only after D.1 was stamped, and with every document sent whole by then.
SELECT e.evidence::text AS subject, e.event_time::text AS detail FROM qerds.evidence e
LEFT JOIN (SELECT c.delivery, min(c.sequence) AS sequence FROM qerds.evidence c JOIN qerds.evidence_token t ON t.evidence = c.evidence
           WHERE c.event = 'D.1' GROUP BY c.delivery) d ON d.delivery = e.delivery
LEFT JOIN (SELECT x.delivery, max(coalesce(h.at, 'infinity')) AS whole_at
           FROM qerds.delivery_document x
           LEFT JOIN (SELECT o.delivery, o.part, min(o.at) AS at FROM qerds.handover o WHERE o.complete GROUP BY o.delivery, o.part) h
               ON h.delivery = x.delivery AND h.part = x.part
           GROUP BY x.delivery) s ON s.delivery = e.delivery
WHERE e.event = 'E.1' AND (d.sequence IS NULL OR d.sequence > e.sequence OR s.whole_at > e.event_time) LIMIT $1::integer;

-- name: ledger_window_is_its_notices
-- A window exists exactly with a proved C.1, of the same ordinal. Its last day is the fifteenth after the later of the day that C.1
-- says and the day since which it is proved, and not before what was printed; it closes at midnight Paris after it.
SELECT coalesce(w.delivery, e.delivery)::text AS subject, concat_ws(' ', w.last_day, w.expires_at, n.last_day) AS detail
FROM qerds.acceptance_window w
FULL JOIN (SELECT c.delivery, c.ordinal, greatest(c.event_time, t.gen_time) AS counts_from
           FROM qerds.evidence c JOIN qerds.evidence_token t ON t.evidence = c.evidence JOIN qerds.delivery d ON d.id = c.delivery
           WHERE c.event = 'C.1' AND c.sequence <= d.stamped_through) e ON e.delivery = w.delivery
LEFT JOIN qerds.notice n ON n.delivery = w.delivery AND n.ordinal = w.ordinal
WHERE w.delivery IS NULL OR e.delivery IS NULL OR n.delivery IS NULL OR e.ordinal <> w.ordinal
   OR n.last_day <> n.notice_date + 15 OR w.last_day < n.last_day
   OR w.last_day <> (e.counts_from AT TIME ZONE 'Europe/Paris')::date + 15
   OR w.expires_at <> (w.last_day + 1)::timestamp AT TIME ZONE 'Europe/Paris' LIMIT $1::integer;

-- name: ledger_notice_has_one_result
-- One result per ordinal, at most one of all that is not superseded; C.1 stands on a relayed notice, C.2 on a refused one,
-- and neither a relayed nor a refused notice goes without.
SELECT r.delivery::text AS subject, string_agg(r.ordinal || ' ' || r.outcome, ', ' ORDER BY r.ordinal) AS detail
FROM qerds.notice_result r GROUP BY r.delivery
HAVING count(DISTINCT r.ordinal) <> count(*) OR count(*) FILTER (WHERE r.outcome <> 'superseded') > 1
UNION ALL
SELECT e.delivery::text, e.event || ' ' || e.ordinal FROM qerds.evidence e
WHERE e.event IN ('C.1', 'C.2')
  AND NOT EXISTS (SELECT FROM qerds.notice_result r WHERE r.delivery = e.delivery AND r.ordinal = e.ordinal
                  AND r.outcome = CASE e.event WHEN 'C.1' THEN 'relayed' ELSE 'refused' END)
UNION ALL
SELECT r.delivery::text, r.outcome || ' ' || r.ordinal FROM qerds.notice_result r
WHERE r.outcome <> 'superseded'
  AND NOT EXISTS (SELECT FROM qerds.evidence e WHERE e.delivery = r.delivery AND e.ordinal = r.ordinal
                  AND e.event = CASE r.outcome WHEN 'relayed' THEN 'C.1' ELSE 'C.2' END) LIMIT $1::integer;

-- name: ledger_deposit_is_readable
-- A proof of deposit has its wrapped key, and documents that are what was declared.
SELECT e.delivery::text AS subject, e.evidence::text AS detail FROM qerds.evidence e
LEFT JOIN qerds.content_wrap w ON w.delivery = e.delivery
LEFT JOIN (SELECT x.delivery, bool_or(x.sha256 <> u.sha256) AS another
           FROM qerds.delivery_document x LEFT JOIN qerds.upload u ON u.id = x.upload GROUP BY x.delivery) c ON c.delivery = e.delivery
WHERE e.event = 'A.1' AND (w.delivery IS NULL OR c.delivery IS NULL OR c.another) LIMIT $1::integer;

-- name: ledger_deposit_keeps_its_bytes
-- What was deposited is still in the store's books: the segments of each document are 1, 2, .. n and make its length.
SELECT e.delivery::text AS subject, 'document ' || x.part AS detail
FROM qerds.evidence e
JOIN qerds.delivery_document x ON x.delivery = e.delivery
JOIN qerds.upload u ON u.id = x.upload
LEFT JOIN (SELECT g.upload, sum(g.bytes) AS bytes, count(*) AS segments, max(g.segment) AS last
           FROM qerds.upload_segment g GROUP BY g.upload) s ON s.upload = x.upload
WHERE e.event = 'A.1' AND (s.bytes IS DISTINCT FROM u.bytes OR s.segments <> s.last) LIMIT $1::integer;

-- name: ledger_packed_contents_lie_apart
-- The contents of a pack do not overlap and lie inside it, and only a pack has contents at a place.
SELECT c.object AS subject, 'at ' || c.object_offset AS detail
FROM (SELECT g.object, g.object_offset, g.object_offset + g.object_bytes AS ends, p.bytes,
             lead(g.object_offset) OVER (PARTITION BY g.object ORDER BY g.object_offset) AS next_offset
      FROM qerds.upload_segment g LEFT JOIN qerds.pack p ON p.object = g.object
      WHERE g.object_bytes IS NOT NULL OR p.object IS NOT NULL) c
WHERE c.bytes IS NULL OR c.ends IS NULL OR c.ends > c.bytes OR c.ends > c.next_offset LIMIT $1::integer;

-- name: ledger_content_wrap_is_a_deposits
-- A wrap for later letters exists of what was read and deposited at least once, and is open for its time, not longer.
SELECT w.upload::text AS subject, 'open until ' || w.open_until AS detail
FROM qerds.upload_wrap w JOIN qerds.upload u ON u.id = w.upload
LEFT JOIN (SELECT DISTINCT x.upload FROM qerds.delivery_document x
           JOIN qerds.evidence e ON e.delivery = x.delivery AND e.event = 'A.1') d ON d.upload = w.upload
WHERE w.open_until > u.created_at + interval '90 days' OR d.upload IS NULL LIMIT $1::integer;

-- name: ledger_object_has_one_owner
-- No object is named twice, but a pack by its contents.
WITH named AS (
    SELECT g.object FROM qerds.upload_segment g WHERE NOT EXISTS (SELECT FROM qerds.pack p WHERE p.object = g.object)
    UNION ALL SELECT p.object FROM qerds.pack p
    UNION ALL SELECT s.object FROM qerds.snapshot s
    UNION ALL SELECT p.object FROM qerds.batch_proof p
    UNION ALL SELECT t.object FROM qerds.export_step t WHERE t.object IS NOT NULL)
SELECT n.object AS subject, 'named ' || count(*) || ' times' AS detail FROM named n
GROUP BY n.object HAVING count(*) > 1 LIMIT $1::integer;

-- name: ledger_snapshots_are_a_chain
-- 1, 2, .. n; each names its predecessor's digest, holds more, and nothing that is not stamped.
SELECT c.delivery::text AS subject, 'snapshot ' || c.snapshot AS detail
FROM (SELECT s.delivery, s.snapshot, s.previous_sha256, s.sequence_through,
             lag(s.sha256) OVER own AS before_sha256, coalesce(lag(s.sequence_through) OVER own, 0) AS before_through,
             row_number() OVER own AS place
      FROM qerds.snapshot s WINDOW own AS (PARTITION BY s.delivery ORDER BY s.snapshot)) c
JOIN qerds.delivery d ON d.id = c.delivery
WHERE c.snapshot <> c.place OR c.previous_sha256 IS DISTINCT FROM c.before_sha256
   OR c.sequence_through <= c.before_through OR c.sequence_through > d.stamped_through LIMIT $1::integer;

-- name: ledger_every_proof_is_logged
-- Each draft, seal, token, package and proof of a batch has its log leaf with its digest; each such leaf has its row.
WITH made AS (
    SELECT 'draft' AS what, e.evidence AS subject, e.sha256 AS digest FROM qerds.evidence e
    UNION ALL SELECT 'seal', s.evidence, sha256(s.signature) FROM qerds.evidence_seal s
    UNION ALL SELECT 'token', t.evidence, sha256(t.token) FROM qerds.evidence_token t
    UNION ALL SELECT 'package.' || p.snapshot, p.delivery, p.sha256 FROM qerds.snapshot p
    UNION ALL SELECT 'batch_proof', b.batch, b.sha256 FROM qerds.batch_proof b),
leaf AS (SELECT l.what, l.subject, l.digest FROM qerds.log_leaf l
         WHERE l.stream = 'evidence' AND (l.what IN ('draft', 'seal', 'token', 'batch_proof') OR starts_with(l.what, 'package.')))
SELECT coalesce(m.subject, l.subject)::text AS subject, coalesce(m.what, l.what) AS detail
FROM made m FULL JOIN leaf l ON l.what = m.what AND l.subject = m.subject
WHERE m.digest IS DISTINCT FROM l.digest LIMIT $1::integer;

-- name: ledger_every_fact_is_stated
-- Each fact that no evidence states has its leaf with its digest, each other leaf its fact: but of what a process may delete,
-- when it stated that too. Of a sender or client every version has a leaf, and the newest is what the row says.
WITH leaf AS MATERIALIZED (
    SELECT l.stream, l.subject, l.digest, l.what,
           CASE WHEN l.stream = 'security' THEN regexp_replace(l.what, '^(sender|client)[.][1-9][0-9]*$', '\1') ELSE l.what END AS name
    FROM qerds.log_leaf l
    WHERE l.stream <> 'evidence' OR NOT (l.what IN ('draft', 'seal', 'token', 'batch_proof') OR starts_with(l.what, 'package.'))),
newest AS (
    SELECT DISTINCT ON (l.stream, l.name, l.subject) l.stream, l.name AS what, l.subject, l.digest,
           l.name <> l.what AND l.what <> l.name || '.' || count(*) OVER (PARTITION BY l.stream, l.name, l.subject) AS is_torn
    FROM leaf l WHERE right(l.what, 5) <> '.gone'
    ORDER BY l.stream, l.name, l.subject, length(l.what) DESC, l.what DESC),
gone AS (SELECT l.stream, left(l.what, -5) AS what, l.subject, l.digest FROM leaf l WHERE right(l.what, 5) = '.gone')
SELECT coalesce(f.subject, n.subject, g.subject)::text AS subject, coalesce(f.what, n.what, g.what) AS detail
FROM (SELECT s.stream, s.what, s.subject, s.digest FROM qerds.stated_facts() s) f
FULL JOIN newest n ON n.stream = f.stream AND n.what = f.what AND n.subject = f.subject
FULL JOIN gone g ON g.stream = coalesce(f.stream, n.stream) AND g.what = coalesce(f.what, n.what)
                AND g.subject = coalesce(f.subject, n.subject)
WHERE n.is_torn OR n.digest IS DISTINCT FROM coalesce(f.digest, g.digest) OR (f.what IS NOT NULL AND g.what IS NOT NULL)
LIMIT $1::integer;

-- name: ledger_client_ref_is_single
-- One client_ref, one delivery that was not rejected.
SELECT d.sender::text AS subject, count(*) || ' deliveries' AS detail FROM qerds.delivery d
WHERE d.client_ref IS NOT NULL AND d.state <> 'rejected' GROUP BY d.sender, d.client_ref HAVING count(*) > 1 LIMIT $1::integer;

-- name: ledger_deliveries
-- How many there are to check.
SELECT count(*) AS deliveries FROM qerds.delivery;

-- name: ledger_page
-- For the predicates that need more than SQL: whole deliveries in order of id, after $1, $2 at a time.
SELECT d.id AS delivery FROM qerds.delivery d WHERE d.id > $1::uuid ORDER BY d.id LIMIT $2::integer;

-- name: ledger_proofs
-- ... and every evidence of theirs with the rows that it speaks of, in one statement: one instant.
SELECT d.id AS delivery, d.number, d.state, d.stamped_through, d.mode, e.evidence, e.event, e.ordinal, e.sequence, e.event_time,
       e.canonical, e.sha256, e.seal_key_id, s.signature, s.key_id, t.token, t.gen_time, k.certificate,
       d.client_ref, d.consent_ref, d.config_version, d.submitted_at, d.recipient_kind, d.recipient_email, d.given_names,
       d.birth_name, d.usage_name, d.birth_date, d.organisation_name, d.organisation_siren,
       o.name AS sender_name, o.email AS sender_email, o.identity_level AS sender_level, o.identity_method AS sender_method,
       o.identified_at AS sender_identified_at,
       x.numbers AS part_numbers, x.file_names AS part_file_names, x.content_types AS part_content_types, x.bytes AS part_bytes,
       x.sha256 AS part_sha256, x.sha3_256 AS part_sha3_256,
       a.evidence AS deposit_evidence, a.sha256 AS deposit_sha256, a.event_time AS deposited_at, sha256(l.signature) AS deposit_seal_sha256,
       n.message_id AS notice_message_id, n.text_sha256 AS notice_text_sha256, n.notice_date, r.code AS relay_code,
       r.detail AS relay_detail, w.last_day AS window_last_day, w.expires_at AS window_expires_at,
       i.persons AS identified_persons, i.levels AS identified_levels, i.methods AS identified_methods, i.times AS identified_times
FROM qerds.delivery d
LEFT JOIN qerds.evidence e ON e.delivery = d.id
LEFT JOIN qerds.evidence_seal s ON s.evidence = e.evidence
LEFT JOIN qerds.evidence_token t ON t.evidence = e.evidence
LEFT JOIN qerds.published_key k ON k.key_id = e.seal_key_id
LEFT JOIN qerds.sender o ON o.id = d.sender
LEFT JOIN qerds.evidence a ON a.delivery = d.id AND a.event = 'A.1'
LEFT JOIN qerds.evidence_seal l ON l.evidence = a.evidence
LEFT JOIN qerds.notice n ON n.delivery = d.id AND n.ordinal = e.ordinal
LEFT JOIN qerds.notice_result r ON r.delivery = d.id AND r.ordinal = e.ordinal
LEFT JOIN qerds.acceptance_window w ON w.delivery = d.id
LEFT JOIN (SELECT y.delivery, array_agg(y.part ORDER BY y.part) AS numbers, array_agg(y.file_name ORDER BY y.part) AS file_names,
                  array_agg(u.content_type ORDER BY y.part) AS content_types, array_agg(u.bytes ORDER BY y.part) AS bytes,
                  array_agg(u.sha256 ORDER BY y.part) AS sha256,
                  array_agg(coalesce(u.sha3_256, v.sha3_256) ORDER BY y.part) AS sha3_256
           FROM qerds.delivery_document y
           LEFT JOIN qerds.upload u ON u.id = y.upload
           LEFT JOIN qerds.upload_wrap v ON v.upload = y.upload
           WHERE y.delivery = ANY ($1::uuid[]) GROUP BY y.delivery) x ON x.delivery = d.id
LEFT JOIN (SELECT p.delivery, array_agg(p.person_sha256) AS persons, array_agg(p.level) AS levels, array_agg(p.provider) AS methods,
                  array_agg(p.authenticated_at) AS times
           FROM qerds.identification p WHERE p.delivery = ANY ($1::uuid[]) AND p.outcome = 'match' GROUP BY p.delivery) i
    ON i.delivery = d.id
WHERE d.id = ANY ($1::uuid[]) ORDER BY d.id, e.sequence;

-- name: ledger_key_use_heads
-- What the bridge told of its record.
SELECT h.number, h.sha256 FROM qerds.key_use_head h ORDER BY h.number, h.at;

-- name: ledger_seals
-- Evidence and the time of its seal, null when it has none, in order after $1, $2 at a time.
SELECT e.evidence, s.sealed_at FROM qerds.evidence e LEFT JOIN qerds.evidence_seal s ON s.evidence = e.evidence
WHERE e.evidence > $1::uuid ORDER BY e.evidence LIMIT $2::integer;

-- name: ledger_state_is_announced
-- Each state that a letter's stamped proofs show has exactly one event, in its place or waiting for one, and there is no
-- other. Letters from before the events that may have been forgotten (400 days) are not asked for them.
WITH young AS MATERIALIZED (
    SELECT d.id, coalesce(p.events, '{}') AS events FROM qerds.delivery d
    LEFT JOIN (SELECT e.delivery, array_agg(e.event) AS events, min(e.event_time) AS first
               FROM qerds.evidence e JOIN qerds.evidence_token t ON t.evidence = e.evidence
               JOIN qerds.delivery s ON s.id = e.delivery AND e.sequence <= s.stamped_through
               GROUP BY e.delivery) p ON p.delivery = d.id
    WHERE p.first IS NULL OR p.first > now() - interval '390 days'),
reached AS (
    SELECT DISTINCT y.id, t.to_state AS state FROM young y JOIN qerds.transition t ON t.events <@ y.events),
told AS (
    SELECT a.delivery, a.state, count(*) AS times
    FROM (SELECT e.delivery, e.type, e.state FROM qerds.event e UNION ALL
          SELECT u.delivery, u.type, u.state FROM qerds.event_unsequenced u) a
    JOIN young y ON y.id = a.delivery WHERE a.type IN (SELECT n.type FROM qerds.event_type n WHERE n.state IS NOT NULL) GROUP BY a.delivery, a.state)
SELECT coalesce(r.id, t.delivery)::text AS subject, coalesce(r.state, t.state) || ' told ' || coalesce(t.times, 0) || ' times' AS detail
FROM reached r FULL JOIN told t ON t.delivery = r.id AND t.state = r.state
WHERE r.id IS NULL OR t.times IS DISTINCT FROM 1 LIMIT $1::integer;

-- name: ledger_event_order_has_no_hole
-- From the oldest that is kept to the head, every place is taken once.
SELECT 'events' AS subject, concat_ws(' ', e.first, e.last, e.events, 'head', h.sequence) AS detail
FROM (SELECT min(x.sequence) AS first, max(x.sequence) AS last, count(*) AS events, count(DISTINCT x.sequence) AS places FROM qerds.event x) e
CROSS JOIN (SELECT max(y.sequence) AS sequence, count(*) AS heads FROM qerds.event_head y) h
WHERE h.heads <> 1 OR h.sequence IS NULL OR coalesce(e.last, h.sequence) <> h.sequence OR e.events <> e.places
   OR e.events <> coalesce(e.last - e.first + 1, 0) LIMIT $1::integer;

-- name: ledger_event_tells_of_its_letter
-- What a sender is told of a letter is what its rows and evidence say; a package and a mismatch are told once each.
WITH told AS (
    SELECT e.id::text AS subject, e.type, e.sender, e.delivery, e.subject IS NOT NULL AS is_of_another, e.state, e.evidence, e.time,
           (e.number, e.client_ref) IS DISTINCT FROM (d.number, CASE WHEN e.delivery IS NULL THEN e.client_ref ELSE d.client_ref END)
           AS says_another, true AS has_place
    FROM qerds.event e LEFT JOIN qerds.delivery d ON d.id = e.delivery
    UNION ALL
    SELECT u.id::text, u.type, u.sender, u.delivery, u.subject IS NOT NULL OR u.ref IS NOT NULL, u.state, NULL, NULL, false, false
    FROM qerds.event_unsequenced u),
made AS (
    SELECT s.delivery, 'delivery.package_ready' AS type, count(*) AS times, min(s.at) AS first FROM qerds.snapshot s GROUP BY s.delivery
    UNION ALL
    SELECT i.delivery, 'delivery.identity_mismatch', count(*), min(i.at) FROM qerds.identification i
    WHERE i.outcome <> 'match' GROUP BY i.delivery)
SELECT t.subject, t.type AS detail
FROM told t
LEFT JOIN qerds.delivery d ON d.id = t.delivery
LEFT JOIN qerds.event_type y ON y.type = t.type
LEFT JOIN qerds.evidence v ON v.evidence = t.evidence
WHERE t.says_another
   OR (t.delivery IS NOT NULL AND (t.is_of_another OR t.sender IS DISTINCT FROM d.sender))
   OR (y.state IS NOT NULL AND t.state IS DISTINCT FROM y.state) OR (y.proof IS NULL AND t.evidence IS NOT NULL)
   OR (t.has_place AND (v.delivery, v.event, v.event_time) IS DISTINCT FROM
                       (CASE WHEN y.proof IS NOT NULL THEN t.delivery END, y.proof, CASE WHEN y.proof IS NOT NULL THEN t.time END))
UNION ALL
SELECT coalesce(m.delivery, a.delivery)::text, coalesce(m.type, a.type)
FROM made m
FULL JOIN (SELECT t.delivery, t.type, count(*) AS times FROM told t
           WHERE t.type IN ('delivery.package_ready', 'delivery.identity_mismatch') GROUP BY t.delivery, t.type) a
    ON a.delivery = m.delivery AND a.type = m.type
WHERE m.times IS DISTINCT FROM a.times AND coalesce(m.first > now() - interval '390 days', true)  -- older ones may be forgotten
LIMIT $1::integer;

-- name: ledger_settings_are_the_builds
-- The tables that only migrations write say what this build says ($2, $3: its transitions and types of events, a line each), and
-- the one row about the installation what its configuration says ($4; null: not asked).
SELECT 'transition' AS subject, coalesce(s.line, b.line) AS detail
FROM (SELECT concat_ws(' ', t.from_state, e.events, t.to_state) AS line
      FROM qerds.transition t
      CROSS JOIN LATERAL (SELECT string_agg(u.event, '+' ORDER BY u.event) AS events FROM unnest(t.events) AS u(event)) e) s
FULL JOIN unnest($2::text[]) AS b(line) ON b.line = s.line WHERE s.line IS NULL OR b.line IS NULL
UNION ALL
SELECT 'event_type', coalesce(s.line, b.line)
FROM (SELECT concat_ws(' ', t.type, coalesce(t.state, '-'), coalesce(t.proof, '-')) AS line FROM qerds.event_type t) s
FULL JOIN unnest($3::text[]) AS b(line) ON b.line = s.line WHERE s.line IS NULL OR b.line IS NULL
UNION ALL
SELECT 'installation', i.line
FROM (SELECT string_agg(concat_ws(' ', n.mode, n.embedded), ', ') AS line FROM qerds.installation n) i
WHERE i.line IS DISTINCT FROM coalesce($4::text, i.line)
LIMIT $1::integer;

-- name: ledger_webhook_has_its_message
-- A webhook that is said to be under way has one message, one that is idle none: the sequencer wakes it by what is said.
SELECT w.id::text AS subject, concat_ws(' ', w.under_way, coalesce(m.messages, 0)) AS detail
FROM qerds.webhook w
LEFT JOIN (SELECT o.subject, count(*) AS messages FROM outbox.message o WHERE o.kind = 'push' GROUP BY o.subject) m
    ON m.subject = w.id
WHERE coalesce(m.messages, 0) IS DISTINCT FROM w.under_way::integer LIMIT $1::integer;

-- name: ledger_batch_has_a_next_step
-- Submitted and not at its end: the next draw is on its way; or, when every line is drawn, the look whether it is at its end.
SELECT b.id::text AS subject, b.state AS detail FROM qerds.batch b
WHERE b.state IN ('submitted', 'processing')
  AND NOT EXISTS (SELECT FROM outbox.message m WHERE m.subject = b.id AND m.stage = 'ingest'
                  AND (m.kind = 'draw' OR (m.kind = 'settle' AND b.accepted + b.rejected = b.lines))) LIMIT $1::integer;

-- name: ledger_lines_are_accounted_for
-- Each line of a batch is a result or still a line, up to the cursor and after it, and the counters say how many.
WITH counted AS (
    SELECT b.id, b.state, b.lines, b.accepted, b.rejected, b.drawn_part, coalesce(p.lines, 0) AS stored, coalesce(p.passed, 0) + b.drawn_line AS drawn,
           coalesce(r.results, 0) AS results, coalesce(r.accepted, 0) AS accepted_results, coalesce(w.waiting, 0) AS waiting
    FROM qerds.batch b
    LEFT JOIN (SELECT x.batch, sum(x.lines) AS lines, sum(x.lines) FILTER (WHERE x.part < c.drawn_part) AS passed
               FROM qerds.batch_part x JOIN qerds.batch c ON c.id = x.batch GROUP BY x.batch) p ON p.batch = b.id
    LEFT JOIN (SELECT y.batch, count(*) AS results, count(y.delivery) AS accepted
               FROM qerds.batch_result y GROUP BY y.batch) r ON r.batch = b.id
    LEFT JOIN (SELECT x.batch, count(*) AS waiting FROM qerds.batch_part x JOIN qerds.batch_line l ON l.intake = x.intake
               GROUP BY x.batch) w ON w.batch = b.id)
SELECT c.id::text AS subject,
       concat_ws(' ', 'lines', c.stored, 'results', c.results, 'waiting', c.waiting, 'cursor', c.drawn) AS detail
FROM counted c
WHERE c.stored <> c.results + c.waiting OR c.drawn_part IS NULL OR c.drawn IS DISTINCT FROM c.results
   OR c.accepted IS DISTINCT FROM c.accepted_results OR c.rejected IS DISTINCT FROM c.results - c.accepted_results
   OR c.lines IS NULL OR (c.state <> 'open' AND c.lines <> c.stored) LIMIT $1::integer;

-- name: ledger_result_has_its_delivery
-- An accepted line of its own has a delivery of its batch, and a delivery of a batch one such line; a replay has one at all.
SELECT coalesce(r.batch, d.batch)::text AS subject, coalesce(r.part || '/' || r.line, d.id::text) AS detail
FROM (SELECT x.batch, x.part, x.line, x.delivery FROM qerds.batch_result x WHERE x.delivery IS NOT NULL AND NOT x.replayed) r
FULL JOIN (SELECT y.id, y.batch FROM qerds.delivery y WHERE y.batch IS NOT NULL) d ON d.id = r.delivery AND d.batch = r.batch
WHERE r.batch IS NULL OR d.id IS NULL
UNION ALL
SELECT min(x.batch::text), x.delivery || ' of ' || count(*) || ' lines' FROM qerds.batch_result x
WHERE x.delivery IS NOT NULL AND NOT x.replayed GROUP BY x.delivery HAVING count(*) > 1
UNION ALL
SELECT x.batch::text, x.part || '/' || x.line FROM qerds.batch_result x LEFT JOIN qerds.delivery y ON y.id = x.delivery
WHERE x.replayed IS NULL OR (x.replayed AND y.id IS NULL) LIMIT $1::integer;

-- name: ledger_deposit_time_is_its_evidences
-- By which lists and exports find a letter: the time of its stamped A.1 or A.2, and no change before its first proof.
SELECT d.id::text AS subject, concat_ws(' ', d.settled_at, e.event_time) AS detail
FROM qerds.delivery d
LEFT JOIN qerds.evidence e ON e.delivery = d.id AND e.event IN ('A.1', 'A.2') AND e.sequence <= d.stamped_through
WHERE d.settled_at IS DISTINCT FROM e.event_time OR (d.changed_at IS NULL) <> (d.stamped_through = 0) LIMIT $1::integer;

-- name: ledger_consent_request_is_asked
-- Open and unanswered: the relay has spoken, or the message of the step that is due exists.
SELECT r.id::text AS subject, CASE WHEN c.request IS NULL THEN 'ask_consent' ELSE 'mail_consent' END AS detail
FROM qerds.consent_request r
LEFT JOIN qerds.consent_mail c ON c.request = r.id
LEFT JOIN qerds.consent_mail_result x ON x.request = r.id
LEFT JOIN qerds.consent_answer a ON a.request = r.id
LEFT JOIN (SELECT DISTINCT o.subject, o.kind FROM outbox.message o WHERE o.stage = 'notify') m
    ON m.subject = r.id AND m.kind = CASE WHEN c.request IS NULL THEN 'ask_consent' ELSE 'mail_consent' END
WHERE x.request IS NULL AND a.request IS NULL AND r.expires_at > now() AND m.subject IS NULL LIMIT $1::integer;
