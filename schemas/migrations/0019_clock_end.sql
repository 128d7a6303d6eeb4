-- The demo clock of an embedded installation stays within what its keys and certificates live.
--
-- Gives          qerds.legal_clock_end(), qerds.advance_legal_clock() that keeps to it
-- Locks          nothing
-- Old processes  may run: what they say of a clock that would go too far names the bound from before

-- One day after the last key of a use has ended, nobody could be sent a letter any more, and the clock never goes back. A month
-- before, so that every letter that was begun can end.
CREATE FUNCTION qerds.legal_clock_end() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT least(clock_timestamp() + interval '3650 days', min(newest.until) - interval '30 days')
    FROM (SELECT max(k.until) AS until FROM qerds.published_key k WHERE k.use IN ('seal', 'time', 'intake') GROUP BY k.use) newest
$$;
COMMENT ON FUNCTION qerds.legal_clock_end() IS 'How far the demo clock may be moved, by the keys that are published.';

CREATE OR REPLACE FUNCTION qerds.advance_legal_clock(seconds float8) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    furthest CONSTANT interval := interval '3650 days';
    ends CONSTANT timestamptz := qerds.legal_clock_end() + interval '1 second';  -- the clock goes on while this runs
BEGIN
    IF NOT EXISTS (SELECT FROM qerds.installation i WHERE i.embedded) THEN
        RAISE EXCEPTION 'the demo clock exists in an embedded installation only';
    END IF;
    IF seconds IS NULL OR NOT seconds > 0 THEN
        RAISE EXCEPTION 'the demo clock only moves forward';
    END IF;
    IF seconds > extract(epoch FROM furthest) OR clock_timestamp() + make_interval(secs => seconds) > ends THEN
        RETURN NULL;
    END IF;
    INSERT INTO qerds.legal_clock AS c (ahead) VALUES (make_interval(secs => seconds))
    ON CONFLICT (one) DO UPDATE SET ahead = c.ahead + excluded.ahead, changed_at = clock_timestamp()
    WHERE c.ahead + excluded.ahead <= furthest AND clock_timestamp() + c.ahead + excluded.ahead <= ends;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN qerds.legal_now();
END $$;

REVOKE ALL ON FUNCTION qerds.legal_clock_end() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION qerds.legal_clock_end() TO qerds_gateway, qerds_operate;
