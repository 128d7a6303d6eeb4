-- The time to decide runs from the proved notice: its window is written with the token of C.1, by who stamps and not by who
-- sends. A notice that was held back and dated long ago ends nobody's time.
--
-- Gives          windows by `timestamp`
-- Locks          nothing
-- Old processes  must not run: `notify` of the build before writes windows itself

REVOKE INSERT ON qerds.acceptance_window FROM qerds_notify;
GRANT INSERT ON qerds.acceptance_window TO qerds_timestamp;
COMMENT ON TABLE qerds.acceptance_window IS 'Until when a notified letter may be accepted or refused. Inserts: timestamp.';
