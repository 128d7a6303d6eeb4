-- Proofs of batches and exports: what `archive` reads and writes, what the gateway asks and answers.

-- name: batch_standing
-- A batch with what its proof says of the whole, and whether its proof can be or was made.
SELECT b.id AS batch, b.name, i.mode, s.name AS sender, b.parts, b.submitted_at,
       b.state IN ('completed', 'completed_with_errors') AS is_settled,
       EXISTS (SELECT FROM qerds.batch_proof p WHERE p.batch = b.id) AS is_proven,
       (SELECT sha256(string_agg(p.sha256, ''::bytea ORDER BY p.part)) FROM qerds.batch_part p WHERE p.batch = b.id) AS parts_sha256
FROM qerds.batch b JOIN qerds.sender s ON s.id = b.sender CROSS JOIN qerds.installation i
WHERE b.id = $1::uuid;

-- name: batch_place
-- The part and line of the n-th line of a batch.
SELECT p.part, ($2::integer - p.first_line) AS line FROM qerds.batch_part p
WHERE p.batch = $1::uuid AND p.first_line < $2::integer ORDER BY p.first_line DESC, p.part DESC LIMIT 1;

-- name: batch_proof_lines
-- What became of the lines after a place, with their A.1 or A.2 as far as it is stamped. As batch_results: the page is cut
-- first, what belongs to it is looked up line by line.
SELECT p.first_line + r.line AS line, r.client_ref, r.problem ->> 'code' AS reason, r.delivery, d.number,
       e.event, e.event_time, e.sha256
FROM (SELECT x.batch, x.part, x.line, x.client_ref, x.delivery, x.problem FROM qerds.batch_result x
      WHERE x.batch = $1::uuid AND (x.part, x.line) > ($2::integer, $3::integer) ORDER BY x.part, x.line LIMIT $4::integer) r
CROSS JOIN LATERAL (SELECT y.first_line FROM qerds.batch_part y WHERE y.batch = r.batch AND y.part = r.part LIMIT 1) p
LEFT JOIN LATERAL (SELECT y.number, y.stamped_through FROM qerds.delivery y WHERE y.id = r.delivery LIMIT 1) d ON true
LEFT JOIN LATERAL (SELECT y.event, y.event_time, y.sha256 FROM qerds.evidence y
                   WHERE y.delivery = r.delivery AND y.event IN ('A.1', 'A.2') AND y.sequence <= d.stamped_through
                   LIMIT 1) e ON true
ORDER BY r.part, r.line;

-- name: add_batch_proof
-- Made once: a second one is refused by the key. With its log leaf.
WITH made AS MATERIALIZED (
    SELECT p.batch, p.object, p.bytes, p.sha256, p.lines
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bytea[], $5::integer[]) AS p(batch, object, bytes, sha256, lines)),
leaf AS (
    INSERT INTO qerds.log_leaf (stream, what, subject, digest) SELECT 'evidence', 'batch_proof', m.batch, m.sha256 FROM made m)
INSERT INTO qerds.batch_proof (batch, object, bytes, sha256, lines)
SELECT m.batch, m.object, m.bytes, m.sha256, m.lines FROM made m;

-- name: export_standing
-- An order and how far it was carried out.
SELECT x.id AS export, x.sender, x.batch, x.from_time, x.to_time, x.kinds,
       coalesce(l.step, 0) AS steps, coalesce(l.cursor, '') AS cursor, coalesce(l.is_last, false) AS is_done
FROM qerds.export x
LEFT JOIN LATERAL (SELECT t.step, t.cursor, t.is_last FROM qerds.export_step t
                   WHERE t.export = x.id ORDER BY t.step DESC LIMIT 1) l ON true
WHERE x.id = $1::uuid;

-- name: export_rows_of_batch
-- The lines of a batch after a place, with their deposit and newest package.
SELECT r.part || '.' || r.line AS cursor, r.delivery, d.number, d.client_ref, d.settled_at AS decided_at,
       coalesce(d.stamped_through, 0) AS stamped_through, s.snapshot, s.object, s.bytes AS package_bytes, s.sha256, s.sequence_through
FROM (SELECT x.part, x.line, x.delivery FROM qerds.batch_result x
      WHERE x.batch = $1::uuid AND (x.part, x.line) > ($2::integer, $3::integer) ORDER BY x.part, x.line LIMIT $4::integer) r
LEFT JOIN LATERAL (SELECT y.number, y.client_ref, y.settled_at, y.stamped_through
                   FROM qerds.delivery y WHERE y.id = r.delivery LIMIT 1) d ON true
LEFT JOIN LATERAL (SELECT p.snapshot, p.object, p.bytes, p.sha256, p.sequence_through FROM qerds.snapshot p
                   WHERE p.delivery = r.delivery ORDER BY p.snapshot DESC LIMIT 1) s ON true
ORDER BY r.part, r.line;

-- name: export_rows_of_sender
-- What a sender had deposited or rejected in a period, after a place in the order (time, id); with its newest package. Of
-- each state at most a page is read, by delivery_by_deposit.
SELECT (extract(epoch FROM d.at) * 1000000)::bigint || '.' || d.id AS cursor, d.id AS delivery, d.number, d.client_ref,
       d.settled_at AS decided_at, d.stamped_through, s.snapshot, s.object, s.bytes AS package_bytes, s.sha256, s.sequence_through
FROM (SELECT f.*
      FROM unnest($2::text[]) AS t(state)
      CROSS JOIN LATERAL (SELECT x.id, x.number, x.client_ref, x.settled_at, x.stamped_through,
                                 coalesce(x.settled_at, x.submitted_at) AS at FROM qerds.delivery x
                          WHERE x.sender = $1::uuid AND x.state = t.state
                            AND (coalesce(x.settled_at, x.submitted_at), x.id) > ($3::timestamptz, $4::uuid)
                            AND coalesce(x.settled_at, x.submitted_at) < $5::timestamptz
                          ORDER BY coalesce(x.settled_at, x.submitted_at), x.id LIMIT $6::integer) f
      ORDER BY f.at, f.id LIMIT $6::integer) d
LEFT JOIN LATERAL (SELECT p.snapshot, p.object, p.bytes, p.sha256, p.sequence_through FROM qerds.snapshot p
                   WHERE p.delivery = d.id ORDER BY p.snapshot DESC LIMIT 1) s ON true
ORDER BY d.at, d.id;

-- name: add_export_step
-- The cursor moves with the part that was packed; the same step done twice is refused by the key.
INSERT INTO qerds.export_step (export, step, cursor, is_last, deliveries, object, bytes, sha256)
SELECT t.export, t.step, t.cursor, t.is_last, t.deliveries, t.object, t.bytes, t.sha256
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::boolean[], $5::integer[], $6::text[], $7::bigint[], $8::bytea[])
     AS t(export, step, cursor, is_last, deliveries, object, bytes, sha256);

-- name: sender_batch_proof
-- A batch of this sender, its state, and its proof if there is one.
SELECT b.state, p.object, p.bytes AS proof_bytes, p.sha256
FROM qerds.batch b LEFT JOIN qerds.batch_proof p ON p.batch = b.id
WHERE b.id = $1::uuid AND b.sender = $2::uuid;

-- name: ask_batch_proof
-- No row back: it was asked for already, and that message is not lost.
INSERT INTO qerds.batch_proof_request (batch) VALUES ($1::uuid) ON CONFLICT (batch) DO NOTHING RETURNING batch;

-- name: sender_has_batch
-- Whether this batch is this sender's.
SELECT b.id FROM qerds.batch b WHERE b.id = $1::uuid AND b.sender = $2::uuid;

-- name: add_export
-- Inside, with its first message. No row back: the id is there already.
INSERT INTO qerds.export (id, sender, batch, from_time, to_time, kinds)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::timestamptz, $5::timestamptz, $6::text[]) ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: sender_export
-- An export of this sender and whether it is complete.
SELECT x.id, x.batch, x.from_time, x.to_time, x.kinds, x.asked_at,
       coalesce((SELECT t.is_last FROM qerds.export_step t WHERE t.export = x.id ORDER BY t.step DESC LIMIT 1), false) AS is_ready
FROM qerds.export x WHERE x.id = $1::uuid AND x.sender = $2::uuid;

-- name: export_parts
-- What was packed, in order.
SELECT t.step AS number, t.object, t.bytes AS part_bytes, t.sha256, t.deliveries FROM qerds.export_step t
WHERE t.export = $1::uuid AND t.object IS NOT NULL ORDER BY t.step;
