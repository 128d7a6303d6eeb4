-- Who acts, of processes of which one may: pipeline/process/elected.py.

-- name: elect
-- $1 which election, $2 milliseconds after which PostgreSQL ends a session that asks nothing. The lock is the session's;
-- a second call of the same session would be granted again, so it is asked only while not elected. The number of the
-- term is a transaction's, drawn under the lock: higher than any before it, and than any that left something behind
-- before the server crashed or failed over.
SELECT CASE WHEN pg_try_advisory_lock(hashtextextended($1::text, 0)) THEN pg_current_xact_id()::text::bigint END AS term,
       set_config('idle_session_timeout', $2::bigint::text, false);
