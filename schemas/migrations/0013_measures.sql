-- What the elected measurer asks besides: how far back the oldest reader holds vacuum, how late webhooks are, how long a
-- letter takes to its proof of deposit. See docs/operate.md, "Watch".

-- Definer's rights: the owner may see other roles' sessions (schemas/roles.sql), the measurer sees this one number. Null when
-- the owner may not: better no series than one that is always young. A VACUUM holds nobody back; a session of another database
-- does not either. A slot tells no time of its horizon, but since when nobody has moved it.
CREATE FUNCTION outbox.horizon_seconds() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE')
                THEN coalesce(greatest(0, extract(epoch FROM clock_timestamp() - min(h.since))), 0)::double precision END
    FROM (SELECT a.xact_start AS since FROM pg_stat_activity a
          WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
            AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
            AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
          UNION ALL
          SELECT p.prepared FROM pg_prepared_xacts p WHERE p.database = current_database()
          UNION ALL
          SELECT s.inactive_since FROM pg_replication_slots s WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL) h
$$;

REVOKE ALL ON FUNCTION outbox.horizon_seconds() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.horizon_seconds() TO qerds_ops;
GRANT SELECT (id, sender, enabled, failures, paused_until, read_through) ON qerds.webhook TO qerds_ops;
GRANT SELECT (webhook, first_at) ON qerds.webhook_retry TO qerds_ops;
GRANT SELECT (sequence, type, sender, delivery, evidence, sequenced_at) ON qerds.event TO qerds_ops;
GRANT SELECT (lane) ON qerds.delivery TO qerds_ops;
GRANT SELECT (evidence, gen_time) ON qerds.evidence_token TO qerds_ops;
