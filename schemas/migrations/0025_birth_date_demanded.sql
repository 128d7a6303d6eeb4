-- A sender whose consumers' letters need the birth date: two people of the same names are one without it.
--
-- Gives          qerds.sender.birth_date_demanded, stated with the rest of the row; `sender birth-date`
-- Locks          qerds.sender, for an instant: every sender is as before
-- Old processes  may run: none knows of it, and a gateway from before demands nothing

ALTER TABLE qerds.sender ADD COLUMN birth_date_demanded boolean NOT NULL DEFAULT false;
GRANT UPDATE (birth_date_demanded) ON qerds.sender TO qerds_operate;
SELECT qerds.also_state('sender', 'birth_date_demanded', 'x.birth_date_demanded IS DISTINCT FROM false');   -- else as before
