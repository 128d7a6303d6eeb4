-- Bulk submission: what `ingest` draws and records, set by set, and what the gateway takes in and shows.

-- name: backlog
-- How many messages wait in some mailboxes in some lanes, counted up to a limit.
SELECT outbox.backlog($1::text[], $2::smallint[], $3::integer) AS waiting;

-- ------------------------------------------------------------------ drawing
-- name: draw_heads
-- What never changes of a submitted batch, and whether it is held back: by an operator, or because the time is over for which
-- its sender was identified; a letter made now would say that somebody submitted it whom nobody knows any more.
SELECT b.id AS batch, b.sender, b.defaults, s.birth_date_demanded,
       outbox.is_paused('batch', b.id::text) OR outbox.is_paused('sender', b.sender::text)
       OR coalesce(s.identity_valid_until <= legal.now, false) AS is_paused
FROM (SELECT qerds.legal_now() AS now) legal CROSS JOIN qerds.batch b JOIN qerds.sender s ON s.id = b.sender
WHERE b.id = ANY ($1::uuid[]);

-- name: draw_lines
-- Cursor and the lines after it, of one instant; lines of one part only, in the order of their key, so that no draw
-- sorts a part. A batch without a line left answers one row without a line.
SELECT b.id AS batch, b.state, b.drawn_part, b.drawn_line, b.lines, b.accepted + b.rejected AS drawn, clock_timestamp() AS read_at,
       p.part, n.line, n.body
FROM qerds.batch b
LEFT JOIN LATERAL (SELECT x.part, x.intake, CASE WHEN x.part = b.drawn_part THEN b.drawn_line ELSE 0 END AS after
                   FROM qerds.batch_part x
                   WHERE x.batch = b.id AND x.part >= b.drawn_part AND (x.part > b.drawn_part OR x.lines > b.drawn_line)
                   ORDER BY x.part LIMIT 1) p ON true
LEFT JOIN LATERAL (SELECT l.line, l.body FROM qerds.batch_line l
                   WHERE l.intake = p.intake AND l.line > p.after ORDER BY l.line LIMIT $2::integer) n ON true
WHERE b.id = ANY ($1::uuid[]);

-- name: batch_consents
-- The consents that lines name, and whether they still stand.
SELECT c.sender, c.ref, c.email, c.given_names, c.birth_name, c.obtained_at, c.method, c.text_sha256, w.withdrawn_at
FROM qerds.consent c LEFT JOIN qerds.consent_withdrawal w ON w.sender = c.sender AND w.ref = c.ref
WHERE c.sender = $1::uuid AND c.ref = ANY ($2::text[]);

-- name: taken_client_refs
-- Who has a client_ref; inside, it also sees a rival that committed while an insert waited for it. One look at the index for
-- each: as a join it is planned as a scan of all deliveries while there are few, and that plan outlives their being few.
SELECT d.sender, d.client_ref, d.delivery, d.request_sha256
FROM unnest($1::uuid[], $2::text[]) AS r(sender, client_ref)
CROSS JOIN LATERAL (SELECT y.sender, y.client_ref, y.id AS delivery, y.request_sha256 FROM qerds.delivery y
                    WHERE y.sender = r.sender AND y.client_ref = r.client_ref AND y.state <> 'rejected' LIMIT 1) d;

-- name: lock_batches
-- Inside, after deliveries were locked and before new ones are inserted.
SELECT b.id AS batch, b.state, b.drawn_part, b.drawn_line FROM qerds.batch b
WHERE b.id = ANY ($1::uuid[]) ORDER BY b.id FOR NO KEY UPDATE;

-- name: add_batch_results
-- Inside, under the locks of their batches. A letter that existed before and is deposited by now will never be rejected: only of
-- the others does anybody have to ask again. By the key of each, whatever else the table holds.
INSERT INTO qerds.batch_result (batch, part, line, client_ref, delivery, replayed, was_undecided, problem)
SELECT r.batch, r.part, r.line, r.client_ref, r.delivery, r.replayed, coalesce(s.state = 'submitted', false), r.problem::jsonb
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::uuid[], $6::boolean[], $7::text[])
    AS r(batch, part, line, client_ref, delivery, replayed, problem)
LEFT JOIN LATERAL (SELECT d.state FROM qerds.delivery d WHERE r.replayed AND d.id = r.delivery OFFSET 0) s ON true;

-- name: remove_drawn_lines
-- Inside: what has a result is no line any more. How many they were. By ctid, which is safe as in `take`: lines are never
-- updated. As a join it is planned, over a table that is empty now, as a scan of the million lines that COPY brings next.
WITH gone AS (
    DELETE FROM qerds.batch_line l WHERE l.ctid = ANY (ARRAY(
        SELECT x.tid
        FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[]) AS r(batch, part, after, through)
        CROSS JOIN LATERAL (SELECT q.intake FROM qerds.batch_part q WHERE q.batch = r.batch AND q.part = r.part LIMIT 1) p
        CROSS JOIN LATERAL (SELECT y.ctid AS tid FROM qerds.batch_line y
                            WHERE y.intake = p.intake AND y.line > r.after AND y.line <= r.through
                            ORDER BY y.line LIMIT r.through - r.after) x))
    RETURNING l.line)
SELECT count(*) AS lines FROM gone g;

-- name: move_cursors
-- Inside, with the results.
UPDATE qerds.batch b SET state = 'processing', drawn_part = m.part, drawn_line = m.line,
    accepted = b.accepted + m.accepted, rejected = b.rejected + m.rejected
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[], $5::integer[]) AS m(batch, part, line, accepted, rejected)
WHERE b.id = m.batch;

-- name: read_settlements
-- Whether every letter of a batch, also one that existed before, is deposited or rejected; and whether a line was refused. Of
-- those that existed before, only the ones that were undecided when they were drawn are looked at, each by its key: the
-- planner would rather read every letter there is, every two seconds.
WITH replays AS MATERIALIZED (
    SELECT r.batch, bool_or(s.state = 'rejected') AS rejected, bool_or(s.state = 'submitted') AS undecided
    FROM qerds.batch_result r
    CROSS JOIN LATERAL (SELECT d.state FROM qerds.delivery d WHERE d.id = r.delivery OFFSET 0) s
    WHERE r.batch = ANY ($1::uuid[]) AND r.replayed AND r.was_undecided GROUP BY r.batch)
SELECT b.id AS batch, b.state, clock_timestamp() AS read_at,
       b.rejected > 0 OR coalesce(p.rejected, false)
       OR EXISTS (SELECT FROM qerds.delivery d WHERE d.batch = b.id AND d.state = 'rejected') AS has_errors,
       coalesce(p.undecided, false)
       OR EXISTS (SELECT FROM qerds.delivery d WHERE d.batch = b.id AND d.state = 'submitted') AS undecided
FROM qerds.batch b LEFT JOIN replays p ON p.batch = b.id WHERE b.id = ANY ($1::uuid[]);

-- name: close_batches
-- Inside. A batch that was cancelled meanwhile stays cancelled.
UPDATE qerds.batch b SET state = c.state, completed_at = clock_timestamp()
FROM unnest($1::uuid[], $2::text[]) AS c(batch, state) WHERE b.id = c.batch AND b.state IN ('submitted', 'processing');

-- ------------------------------------------------------------------ taking in
-- name: open_batch
-- A batch that takes parts.
INSERT INTO qerds.batch (id, sender, name, format, csv_mapping, defaults, expires_at)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::jsonb, $6::jsonb, $7::timestamptz);

-- name: sender_batch
-- One batch of a sender. While it is open, its parts and lines are those that are stored.
SELECT b.id, b.name, b.format, b.csv_mapping, b.defaults, b.state, b.accepted, b.rejected, b.created_at, b.expires_at,
       b.submitted_at, b.completed_at, clock_timestamp() AS read_at,
       CASE b.state WHEN 'open' THEN p.parts ELSE b.parts END AS parts,
       CASE b.state WHEN 'open' THEN p.lines ELSE b.lines END AS lines
FROM qerds.batch b
CROSS JOIN LATERAL (SELECT count(*)::integer AS parts, coalesce(sum(x.lines), 0)::integer AS lines
                    FROM qerds.batch_part x WHERE x.batch = b.id AND b.state = 'open') p
WHERE b.sender = $1::uuid AND b.id = $2::uuid;

-- name: sender_batches
-- In the order of opening.
SELECT b.id, b.name, b.format, b.csv_mapping, b.defaults, b.state, b.accepted, b.rejected, b.created_at, b.expires_at,
       b.submitted_at, b.completed_at, clock_timestamp() AS read_at,
       CASE b.state WHEN 'open' THEN p.parts ELSE b.parts END AS parts,
       CASE b.state WHEN 'open' THEN p.lines ELSE b.lines END AS lines
FROM qerds.batch b
CROSS JOIN LATERAL (SELECT count(*)::integer AS parts, coalesce(sum(x.lines), 0)::integer AS lines
                    FROM qerds.batch_part x WHERE x.batch = b.id AND b.state = 'open') p
WHERE b.sender = $1::uuid AND b.id > $2::uuid ORDER BY b.id LIMIT $3::integer;

-- name: batch_states
-- The letters of a batch by state, from the index alone; and how many that existed before were rejected.
SELECT d.state, count(*)::integer AS deliveries, 0 AS replayed FROM qerds.delivery d WHERE d.batch = $1::uuid GROUP BY d.state
UNION ALL
SELECT 'rejected', 0, count(*)::integer FROM qerds.batch_result r
CROSS JOIN LATERAL (SELECT d.state FROM qerds.delivery d WHERE d.id = r.delivery OFFSET 0) s
WHERE r.batch = $1::uuid AND r.replayed AND r.was_undecided AND s.state = 'rejected';

-- name: batch_part
-- A part that is stored.
SELECT p.part, p.sha256, p.lines FROM qerds.batch_part p WHERE p.batch = $1::uuid AND p.part = $2::integer;

-- name: lock_batch
-- Inside: nobody submits, cancels or adds a part meanwhile.
SELECT b.state, b.expires_at <= clock_timestamp() AS expired FROM qerds.batch b
WHERE b.sender = $1::uuid AND b.id = $2::uuid FOR NO KEY UPDATE;

-- name: stored_parts
-- Inside, under the lock: what has come in.
SELECT p.part, p.sha256, p.lines FROM qerds.batch_part p WHERE p.batch = $1::uuid ORDER BY p.part;

-- name: stored_lines
-- Inside, under the lock: how many lines have come in.
SELECT coalesce(sum(p.lines), 0)::integer AS lines FROM qerds.batch_part p WHERE p.batch = $1::uuid;

-- name: begin_intake
-- Before the first line of a body.
INSERT INTO qerds.batch_intake (intake, batch) VALUES ($1::uuid, $2::uuid);

-- name: take_intake
-- Inside, with the part. No row back: somebody drops it, or has dropped it, as broken off.
DELETE FROM qerds.batch_intake i WHERE i.intake = $1::uuid AND i.began_at > '-infinity' RETURNING i.intake;

-- name: end_intake
-- After the last line was dropped.
DELETE FROM qerds.batch_intake i WHERE i.intake = $1::uuid;

-- name: add_batch_part
-- Inside, under the lock of its batch: the lines of an intake count from now on.
INSERT INTO qerds.batch_part (batch, part, intake, sha256, bytes, lines)
VALUES ($1::uuid, $2::integer, $3::uuid, $4::bytea, $5::bigint, $6::integer);

-- name: drop_lines
-- Lines that count for nothing, some at a time, after a line; the last one that went, null when none was left.
WITH gone AS (
    DELETE FROM qerds.batch_line l USING (SELECT x.line FROM qerds.batch_line x WHERE x.intake = $1::uuid AND x.line > $2::integer
                                          ORDER BY x.line LIMIT $3::integer) few
    WHERE l.intake = $1::uuid AND l.line = few.line RETURNING l.line)
SELECT max(g.line) AS line FROM gone g;

-- name: number_parts
-- Inside, at submit: how many lines come before each part.
UPDATE qerds.batch_part p SET first_line = n.before
FROM (SELECT x.part, (sum(x.lines) OVER (ORDER BY x.part) - x.lines)::integer AS before
      FROM qerds.batch_part x WHERE x.batch = $1::uuid) n
WHERE p.batch = $1::uuid AND p.part = n.part;

-- name: submit_batch
-- Inside, under the lock: from now on it is drawn.
UPDATE qerds.batch b SET state = 'submitted', parts = $2::integer, lines = $3::integer, submitted_at = clock_timestamp()
WHERE b.id = $1::uuid;

-- name: cancel_batch
-- Inside, under the lock. Its parts are fixed now, submitted or not.
UPDATE qerds.batch b SET state = 'cancelled', completed_at = clock_timestamp(),
    parts = (SELECT count(*) FROM qerds.batch_part p WHERE p.batch = b.id),
    lines = (SELECT coalesce(sum(p.lines), 0) FROM qerds.batch_part p WHERE p.batch = b.id)
WHERE b.id = $1::uuid;

-- name: batch_results
-- What became of drawn lines, in order after a line; a rejected letter with the evidence that says why. At most $4, and no more
-- after the first MiB of problems and evidence: a line may have fifty mistakes. The page is cut first and what belongs to it
-- is looked up line by line (LIMIT 1 keeps it so): with statistics from before the batch the planner sorted all of its lines.
SELECT w.part, w.line, w.number, w.client_ref, w.delivery, w.delivery_number, w.state, w.replayed, w.problem, w.rejection
FROM (SELECT q.*, sum(q.bytes) OVER (ORDER BY q.part, q.line) - q.bytes AS ahead FROM (
SELECT r.part, r.line, p.first_line + r.line AS number, r.client_ref, r.delivery, d.number AS delivery_number, d.state,
       r.replayed, r.problem, a.canonical AS rejection, coalesce(length(r.problem::text), 0) + coalesce(length(a.canonical), 0) AS bytes
FROM (SELECT x.batch, x.part, x.line, x.client_ref, x.delivery, x.replayed, x.problem FROM qerds.batch_result x
      WHERE x.batch = $1::uuid AND (x.part, x.line) > ($2::integer, $3::integer) ORDER BY x.part, x.line LIMIT $4::integer) r
CROSS JOIN LATERAL (SELECT y.first_line FROM qerds.batch_part y WHERE y.batch = r.batch AND y.part = r.part LIMIT 1) p
LEFT JOIN LATERAL (SELECT y.id, y.number, y.state, y.stamped_through FROM qerds.delivery y WHERE y.id = r.delivery LIMIT 1) d ON true
LEFT JOIN LATERAL (SELECT y.canonical FROM qerds.evidence y
                   WHERE d.state = 'rejected' AND y.delivery = d.id AND y.event = 'A.2' AND y.sequence <= d.stamped_through
                   LIMIT 1) a ON true) q) w
WHERE w.ahead < 1048576 ORDER BY w.part, w.line;

-- name: waiting_lines
-- Lines that were not drawn, in order after a line and after the cursor; of one part, so that none is sorted. At most $4, and
-- no more after the first MiB: whoever asks holds them all, and so may many.
SELECT w.part, w.line, w.number, w.body
FROM (SELECT p.part, l.line, p.before + l.line AS number, l.body, sum(length(l.body)) OVER (ORDER BY l.line) - length(l.body) AS ahead
FROM (SELECT x.part, x.intake, CASE WHEN x.part = a.part THEN a.line ELSE 0 END AS after,
             (SELECT coalesce(sum(y.lines), 0)::integer FROM qerds.batch_part y WHERE y.batch = x.batch AND y.part < x.part) AS before
      FROM (SELECT CASE WHEN (b.drawn_part, b.drawn_line) > ($2::integer, $3::integer) THEN b.drawn_part ELSE $2::integer END AS part,
                   CASE WHEN (b.drawn_part, b.drawn_line) > ($2::integer, $3::integer) THEN b.drawn_line ELSE $3::integer END AS line
            FROM qerds.batch b WHERE b.id = $1::uuid) a
      JOIN qerds.batch_part x ON x.batch = $1::uuid AND x.part >= a.part AND (x.part > a.part OR x.lines > a.line)
      ORDER BY x.part LIMIT 1) p
CROSS JOIN LATERAL (SELECT n.line, n.body FROM qerds.batch_line n
                    WHERE n.intake = p.intake AND n.line > p.after ORDER BY n.line LIMIT $4::integer) l) w
WHERE w.ahead < 1048576 ORDER BY w.line;

-- ------------------------------------------------------------------ housekeeping
-- name: expire_parts
-- A day after a batch ran out unsubmitted, its lines go the way of those of a broken body. $1 parts at a time.
WITH gone AS (
    DELETE FROM qerds.batch_part p WHERE p.intake = ANY (ARRAY(
        SELECT x.intake FROM qerds.batch b JOIN qerds.batch_part x ON x.batch = b.id
        WHERE b.state = 'open' AND b.expires_at < clock_timestamp() - interval '1 day' LIMIT $1::integer))
    RETURNING p.intake, p.batch)
INSERT INTO qerds.batch_intake (intake, batch, began_at) SELECT g.intake, g.batch, '-infinity' FROM gone g RETURNING intake;

-- name: claim_broken_intakes
-- Bodies that cannot still be coming in: no request lives an hour. Written down before the first line goes, so that a body
-- that comes in after all (its process stood still) never becomes a part of which lines are gone.
WITH broken AS (
    DELETE FROM qerds.batch_intake i WHERE i.intake = ANY (ARRAY(
        SELECT x.intake FROM qerds.batch_intake x WHERE x.began_at < clock_timestamp() - interval '1 hour' LIMIT $1::integer))
    RETURNING i.intake, i.batch)
INSERT INTO qerds.batch_intake (intake, batch, began_at) SELECT b.intake, b.batch, '-infinity' FROM broken b RETURNING intake;

-- name: cancelled_with_bodies
-- Batches that were cancelled a week ago and whose first line that was not drawn still says something: it is emptied last.
SELECT b.id AS batch FROM qerds.batch b
CROSS JOIN LATERAL (SELECT x.intake, CASE WHEN x.part = b.drawn_part THEN b.drawn_line ELSE 0 END AS after
                    FROM qerds.batch_part x
                    WHERE x.batch = b.id AND x.part >= b.drawn_part AND (x.part > b.drawn_part OR x.lines > b.drawn_line)
                    ORDER BY x.part LIMIT 1) p
CROSS JOIN LATERAL (SELECT length(y.body) AS bytes FROM qerds.batch_line y
                    WHERE y.intake = p.intake AND y.line = p.after + 1 LIMIT 1) l
WHERE b.state = 'cancelled' AND b.completed_at < clock_timestamp() - interval '7 days' AND l.bytes > 0 LIMIT $1::integer;

-- name: empty_lines
-- Of a cancelled batch, the last lines before ($2 part, $3 line), at most $4 of one part: they stay as lines that were not
-- drawn, and say nothing any more. The first one that was emptied; no row when none was left.
WITH p AS MATERIALIZED (
    SELECT x.part, x.intake, d.after, CASE WHEN x.part = $2::integer THEN $3::integer ELSE x.lines + 1 END AS before
    FROM qerds.batch b JOIN qerds.batch_part x ON x.batch = b.id
    CROSS JOIN LATERAL (SELECT CASE WHEN x.part = b.drawn_part THEN b.drawn_line ELSE 0 END AS after) d
    WHERE b.id = $1::uuid AND b.state = 'cancelled' AND x.part >= b.drawn_part AND x.lines > d.after
      AND (x.part < $2::integer OR x.part = $2::integer AND $3::integer > d.after + 1)
    ORDER BY x.part DESC LIMIT 1),
gone AS (
    DELETE FROM qerds.batch_line l WHERE l.ctid = ANY (ARRAY(
        SELECT x.tid FROM p CROSS JOIN LATERAL (SELECT y.ctid AS tid FROM qerds.batch_line y
                                                WHERE y.intake = p.intake AND y.line > p.after AND y.line < p.before
                                                ORDER BY y.line DESC LIMIT $4::integer) x))
    RETURNING l.intake, l.line),
emptied AS (INSERT INTO qerds.batch_line (intake, line, body) SELECT g.intake, g.line, '' FROM gone g RETURNING line)
SELECT p.part, coalesce((SELECT min(e.line) FROM emptied e), p.after + 1) AS line FROM p;
