-- When is a batch at its end? Of the letters that existed before (replayed lines) only those can still be rejected that were
-- undecided when their line was drawn. Looking at all of them, every two seconds and with every question for the batch,
-- was a walk over every letter of the installation once a whole file had been sent again.

-- Rows from before this migration are all looked at, as ever.
ALTER TABLE qerds.batch_result ADD COLUMN was_undecided boolean NOT NULL DEFAULT true;
DROP INDEX qerds.batch_result_replayed;
CREATE INDEX batch_result_undecided ON qerds.batch_result (batch) WHERE replayed AND was_undecided;
