-- What PostgreSQL gives to everybody in a new database, and none of our roles uses: taken away.
-- Run by the set-up as superuser in the service's database, after roles.sql, as often as it likes.

DO $$
DECLARE
    routine regprocedure;
BEGIN
    -- Large objects: rows that no grant of ours is about, no predicate looks at and no janitor removes.
    FOR routine IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND (p.proname LIKE 'lo\_%' OR p.proname IN ('loread', 'lowrite'))
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
END $$;
