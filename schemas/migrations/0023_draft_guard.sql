-- An evidence is drafted when its event happens, at its place and from a state that it can follow: no process dates one back or
-- ahead, tells an end before its time, or makes a consignment of an acceptance that there is not.
--
-- Gives          the trigger guard_drafts
-- Locks          qerds.evidence, for an instant
-- Old processes  may run: what they draft is let in

-- For sessions of our processes only: what somebody else writes by hand is seen by `ledger check`. Once a statement, not a row: it
-- looks at what the statement has written, with whatever it wrote together. Planned once a session, because planning costs more
-- than looking; so OFFSET 0: an index for each row, never a hash of the whole table, whatever the plan was made for.
CREATE FUNCTION qerds.guard_drafts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    wrong text;
    moment CONSTANT timestamptz := qerds.legal_now();
BEGIN
    IF NOT qerds.is_process() THEN
        RETURN NULL;
    END IF;
    SELECT CASE
        -- A decision has the time of its intent, which lives 60 s; a clock may be set back by some seconds after it was read.
        WHEN n.event_time NOT BETWEEN moment - interval '120 s' AND moment + interval '5 s' THEN 'is not drafted when it happens'
        WHEN n.ordinal <> 0 AND n.event NOT IN ('C.1', 'C.2') THEN 'happens once'
        WHEN NOT EXISTS (SELECT FROM qerds.delivery d JOIN qerds.transition t ON t.from_state = d.state
                         WHERE d.id = n.delivery AND n.event = ANY (t.events) OFFSET 0) THEN 'does not follow from where the letter is'
        WHEN n.sequence > 1 AND NOT EXISTS (SELECT FROM qerds.evidence p
                                            WHERE p.delivery = n.delivery AND p.sequence = n.sequence - 1 AND p.event_time <= n.event_time OFFSET 0) THEN 'does not follow its predecessor'
        WHEN n.event = 'D.1' AND NOT EXISTS (SELECT FROM qerds.evidence a WHERE a.delivery = n.delivery AND a.event = 'C.3'
                                             AND a.receipt = n.receipt OFFSET 0) THEN 'has no acceptance'
        WHEN n.event = 'C.5' AND NOT EXISTS (SELECT FROM qerds.acceptance_window w WHERE w.delivery = n.delivery
                                             AND w.expires_at <= n.event_time OFFSET 0) THEN 'is before the end of the window'
        -- Access ends at midnight Paris after the 365th day (pipeline/delivery/deadlines.py).
        WHEN n.event = 'E.2' AND NOT EXISTS (SELECT FROM qerds.evidence c WHERE c.delivery = n.delivery AND c.event = 'D.1'
                AND ((c.event_time AT TIME ZONE 'Europe/Paris')::date + 366)::timestamp AT TIME ZONE 'Europe/Paris' <= n.event_time OFFSET 0)
            THEN 'is before the end of access'
        END INTO wrong
    FROM drafts n ORDER BY 1 LIMIT 1;                                             -- nulls, those that are right, come last
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'this event %', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guard_drafts AFTER INSERT ON qerds.evidence REFERENCING NEW TABLE AS drafts
    FOR EACH STATEMENT EXECUTE FUNCTION qerds.guard_drafts();
REVOKE ALL ON FUNCTION qerds.guard_drafts() FROM PUBLIC;
