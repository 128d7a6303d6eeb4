-- A decision of a recipient is drafted only while its intent lives, and at the intent's own time: the receipt of an intent that
-- was given up is worth nothing, whenever it comes and whoever holds it.
--
-- Gives          the triggers guard_intent and guard_decision
-- Locks          nothing that anybody uses for long: two tables, for an instant
-- Old processes  must not run: an acceptance of the build before has a receipt of another form, which the bridge refuses

-- An intent is made now: neither its own age nor the time of its decision is the gateway's to choose.
REVOKE INSERT ON qerds.decision_intent FROM qerds_gateway;
GRANT INSERT (id, delivery, act, decided_at) ON qerds.decision_intent TO qerds_gateway;
CREATE FUNCTION qerds.guard_intent() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF abs(extract(epoch FROM NEW.decided_at - qerds.legal_now())) > 60 THEN
        RAISE EXCEPTION 'a decision is made now' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_intent BEFORE INSERT ON qerds.decision_intent
    FOR EACH ROW EXECUTE FUNCTION qerds.guard_intent();

CREATE FUNCTION qerds.guard_decision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM qerds.decision_intent i
                   WHERE i.delivery = NEW.delivery AND i.act = CASE NEW.event WHEN 'C.3' THEN 'accept' ELSE 'refuse' END
                     AND date_trunc('milliseconds', i.decided_at) = NEW.event_time
                     AND i.made_at > clock_timestamp() - interval '60 s') THEN
        RAISE EXCEPTION 'no intent of this decision lives' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_decision AFTER INSERT ON qerds.evidence
    FOR EACH ROW WHEN (NEW.event IN ('C.3', 'C.4')) EXECUTE FUNCTION qerds.guard_decision();
REVOKE ALL ON FUNCTION qerds.guard_intent(), qerds.guard_decision() FROM PUBLIC;
