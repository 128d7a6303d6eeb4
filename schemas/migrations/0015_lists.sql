-- Lists and exports by index: when a letter was deposited or rejected, and when it last changed, in its own row.
--
-- In the row and not beside it: every change of a letter rewrites its row anyway (the state is in the predicate of
-- delivery_client_ref, so no such update was ever HOT), and a second row would cost more than two columns. The price are
-- three index entries for one at each change: of the 24 KB of WAL of a letter until its notice, 1 KB.

ALTER TABLE qerds.delivery
    ADD COLUMN settled_at timestamptz,                         -- time of its A.1 or A.2, once that is stamped
    ADD COLUMN changed_at timestamptz;                         -- legal time; null: it is as it was submitted

-- The letters that are there. Their last change was when their newest proof was stamped, as near as is known.
ALTER TABLE qerds.delivery DISABLE TRIGGER USER;
UPDATE qerds.delivery d SET settled_at = s.event_time, changed_at = t.gen_time
FROM qerds.evidence s, qerds.evidence n JOIN qerds.evidence_token t ON t.evidence = n.evidence
WHERE s.delivery = d.id AND s.event IN ('A.1', 'A.2') AND n.delivery = d.id AND n.sequence = d.stamped_through;
ALTER TABLE qerds.delivery ENABLE TRIGGER USER;

-- The places in a list: (at, id) within a state. A list over several states merges their beginnings
-- (pipeline/stores/lists.py), so one index serves it with and without a state.
DROP INDEX qerds.delivery_by_sender;
CREATE INDEX delivery_by_deposit ON qerds.delivery (sender, state, coalesce(settled_at, submitted_at), id);
CREATE INDEX delivery_by_batch_deposit ON qerds.delivery (batch, state, coalesce(settled_at, submitted_at), id)
    WHERE batch IS NOT NULL;                                   -- beside delivery_by_batch, which counts: that is a twentieth of the size
CREATE INDEX delivery_by_change ON qerds.delivery (sender, coalesce(changed_at, submitted_at), id);
-- With delivery_client_ref, which has all others: every letter of a reference. A letter that is not rejected has no entry.
CREATE INDEX delivery_rejected_ref ON qerds.delivery (sender, client_ref) WHERE state = 'rejected';

-- An export of a period goes through it in the order of deposit now; one that is under way begins again. The parts it had
-- are found by the janitor.
DELETE FROM qerds.export_step s USING qerds.export x
WHERE x.id = s.export AND x.batch IS NULL
  AND NOT EXISTS (SELECT FROM qerds.export_step l WHERE l.export = x.id AND l.is_last);

-- Moved with the state, by whoever moves that.
GRANT UPDATE (settled_at, changed_at) ON qerds.delivery TO qerds_timestamp;
