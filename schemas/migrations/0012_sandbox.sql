-- The sandbox: in an embedded installation a sender's program moves the demo clock (docs/client.md). And one more event: somebody
-- who is not the addressee has identified for a letter.

-- The one door to the demo clock, for the gateway and for the operator's verb: adds seconds and answers the new time of the law;
-- null when the clock would be further ahead than the certificates of an embedded installation live (pipeline/intake/period.py).
-- Definer's rights, because the right to write the row would be the right to write any time into it. No process may write
-- qerds.installation, so in any other installation this refuses whoever calls it. In seconds: a day in an interval is longer
-- when clocks change. Two calls at once add up.
CREATE FUNCTION qerds.advance_legal_clock(seconds float8) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    furthest CONSTANT interval := interval '3650 days';
BEGIN
    IF NOT EXISTS (SELECT FROM qerds.installation i WHERE i.embedded) THEN
        RAISE EXCEPTION 'the demo clock exists in an embedded installation only';
    END IF;
    IF seconds IS NULL OR NOT seconds > 0 THEN
        RAISE EXCEPTION 'the demo clock only moves forward';
    END IF;
    IF seconds > extract(epoch FROM furthest) THEN
        RETURN NULL;
    END IF;
    INSERT INTO qerds.legal_clock AS c (ahead) VALUES (make_interval(secs => seconds))
    ON CONFLICT (one) DO UPDATE SET ahead = c.ahead + excluded.ahead, changed_at = clock_timestamp()
    WHERE c.ahead + excluded.ahead <= furthest;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN qerds.legal_now();
END $$;
REVOKE ALL ON FUNCTION qerds.advance_legal_clock(float8) FROM PUBLIC;
REVOKE INSERT, UPDATE ON qerds.legal_clock FROM qerds_operate;
GRANT EXECUTE ON FUNCTION qerds.advance_legal_clock(float8) TO qerds_gateway, qerds_operate;

-- An identification that matches nobody changes no state: the event says where the letter stood, and no word about the person.
INSERT INTO qerds.event_type (type, state, proof) VALUES ('delivery.identity_mismatch', NULL, NULL);
CREATE FUNCTION qerds.note_mismatch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, delivery, state)
    SELECT 'delivery.identity_mismatch', d.sender, d.id, d.state FROM qerds.delivery d WHERE d.id = NEW.delivery;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION qerds.note_mismatch() FROM PUBLIC;
CREATE TRIGGER note_mismatch AFTER INSERT ON qerds.identification FOR EACH ROW
    WHEN (NEW.outcome <> 'match') EXECUTE FUNCTION qerds.note_mismatch();
