-- How tables that change are kept small: autovacuum by absolute thresholds, because their size says nothing about their
-- churn (docs/mailbox.md). The mailboxes have theirs since 0001.

-- Rows come and go as in a mailbox: a million letters put two million rows through the timers.
ALTER TABLE outbox.timer SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
ALTER TABLE outbox.legal_timer SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);

-- Its state changes two to five times, all within days: the dead versions of a bulk are near each other, and a fifth of
-- a big table, the default, would be a million of them.
ALTER TABLE qerds.delivery SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0);

-- Insert-only: visited early enough that the visibility map serves counts and the freezing is not left for one night.
ALTER TABLE qerds.evidence       SET (autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE qerds.evidence_seal  SET (autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE qerds.evidence_token SET (autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE qerds.log_leaf       SET (autovacuum_vacuum_insert_scale_factor = 0.05);
