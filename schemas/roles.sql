-- The login roles: one per process kind, so that a process taken over can do what its kind can do and no more.
-- Run by the set-up as superuser, before the migrations, as often as it likes. Passwords are set by the set-up, never here.
-- What each role may touch is granted in migrations, table by table; schema.sql shows it.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[
        'qerds_owner',      -- owns the schemas, runs migrations
        'qerds_gateway', 'qerds_ingest', 'qerds_encrypt', 'qerds_seal', 'qerds_timestamp',
        'qerds_notify', 'qerds_expire', 'qerds_archive',
        'qerds_webhook', 'qerds_events',
        'qerds_bridge',     -- the only one that publishes keys
        'qerds_ops',        -- measures for everybody, and changes nothing
        'qerds_operate'     -- dead letters, demo clock, enrolment of senders
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', wanted);
        END IF;
    END LOOP;
    -- Hot mailboxes flip between empty and full faster than statistics follow: plans must not depend on them.
    -- A statement or transaction that hangs must end by itself, or it pins the vacuum horizon for everyone.
    FOREACH wanted IN ARRAY ARRAY[
        'qerds_gateway', 'qerds_ingest', 'qerds_encrypt', 'qerds_seal', 'qerds_timestamp',
        'qerds_notify', 'qerds_expire', 'qerds_archive', 'qerds_webhook', 'qerds_events', 'qerds_bridge'
    ] LOOP
        EXECUTE format('ALTER ROLE %I SET plan_cache_mode = force_generic_plan', wanted);
        EXECUTE format('ALTER ROLE %I SET enable_seqscan = off', wanted);
        EXECUTE format('ALTER ROLE %I SET enable_bitmapscan = off', wanted);
        EXECUTE format('ALTER ROLE %I SET jit = off', wanted);
        EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', wanted, '10s');
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', wanted, '15s');
        EXECUTE format('ALTER ROLE %I SET timezone = %L', wanted, 'UTC');
    END LOOP;
    -- Sees how old the oldest snapshot is, which is other roles' (outbox.horizon_seconds); nobody logs in as the owner to work.
    EXECUTE 'GRANT pg_read_all_stats TO qerds_owner';
    EXECUTE 'ALTER ROLE qerds_operate SET timezone = ''UTC''';
    EXECUTE 'ALTER ROLE qerds_ops SET timezone = ''UTC''';
    EXECUTE 'ALTER ROLE qerds_ops SET statement_timeout = ''10s''';
    EXECUTE 'ALTER ROLE qerds_ops SET jit = off';
    -- They ask seldom, about tables that grow a thousandfold between two questions: planned each time.
    EXECUTE 'ALTER ROLE qerds_operate SET plan_cache_mode = force_custom_plan';
    EXECUTE 'ALTER ROLE qerds_ops SET plan_cache_mode = force_custom_plan';
    -- Everybody may enter these, and make temporary tables in the first. The cluster is for this service alone; where it is
    -- not, others need a GRANT of their own. Databases of others in it: close them as these, or our roles to them in pg_hba.conf.
    REVOKE ALL ON DATABASE postgres FROM PUBLIC;
    REVOKE ALL ON DATABASE template1 FROM PUBLIC;
END $$;
