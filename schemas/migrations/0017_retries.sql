-- How many retries wait for each stage, counted up to a limit, as outbox.in_hands counts what is being worked on. A function
-- for its settings: whoever is not a stage would read the whole table to count its half, when there are most of them.
CREATE FUNCTION outbox.retries(stages text[], at_most integer) RETURNS TABLE (stage text, waiting bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    FOREACH stage IN ARRAY stages LOOP
        EXECUTE 'SELECT count(*) FROM (SELECT FROM outbox.timer t WHERE t.stage = $1 LIMIT $2) few' INTO waiting USING stage, at_most;
        RETURN NEXT;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION outbox.retries(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.retries(text[], integer) TO qerds_operate;
