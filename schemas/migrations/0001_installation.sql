-- The installation: its standing, the time of the law, the keys it has published.
--
-- Gives          an empty installation: everything below hangs on the clock and the keys
-- Locks          nothing that anybody uses: all is new
-- Old processes  may run: none knows any of it
--
-- The files up to 0012 are one story, a subject each, and make today's schema of an empty database. Each table says in its
-- comment what a row is and who inserts it; schemas/schema.sql shows all of it as it is now. A later file has this head too.

CREATE SCHEMA outbox;
CREATE SCHEMA qerds;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE TABLE qerds.installation (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    mode        text        NOT NULL CHECK (mode IN ('non_qualified')),
    embedded    boolean     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.installation IS
    'The one row says what this installation is. Inserts: nobody; the set-up does, as superuser.';

-- ------------------------------------------------------------------ the time of the law
CREATE TABLE qerds.legal_clock (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    ahead       interval    NOT NULL CHECK (ahead >= interval '0'),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.legal_clock IS
    'The demo clock: a row that only an embedded installation has, and that only moves forward. '
    'Inserts: nobody; qerds.advance_legal_clock does.';

CREATE FUNCTION qerds.keep_legal_clock_honest() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM qerds.installation WHERE embedded) THEN
        RAISE EXCEPTION 'the demo clock exists in an embedded installation only';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.ahead < OLD.ahead THEN
        RAISE EXCEPTION 'the demo clock only moves forward';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_legal_clock_honest BEFORE INSERT OR UPDATE ON qerds.legal_clock
    FOR EACH ROW EXECUTE FUNCTION qerds.keep_legal_clock_honest();

-- The time of the law: EventTime, deadlines. Milliseconds, rounded down, so that no event claims to be later than it was.
CREATE FUNCTION qerds.legal_now() RETURNS timestamptz
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT date_trunc('milliseconds', clock_timestamp()
           + coalesce((SELECT c.ahead FROM qerds.legal_clock c), interval '0'))
$$;

-- ------------------------------------------------------------------ published keys
CREATE TABLE qerds.published_key (
    key_id      text PRIMARY KEY,
    use         text        NOT NULL CHECK (use IN ('seal', 'time', 'intake', 'identity', 'webhook')),
    spki        bytea       NOT NULL,
    certificate bytea,
    not_before  timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.published_key IS
    'A public key that this installation works with or has worked with, kept for ever. Inserts: bridge.';
CREATE TABLE qerds.published_document (
    name        text        NOT NULL,
    version     integer     NOT NULL,
    body        bytea       NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, version)
);
COMMENT ON TABLE qerds.published_document IS
    'One version of what the bridge publishes besides keys, such as a revocation list. Inserts: bridge.';

-- ------------------------------------------------------------------ who may do what
-- A process kind gets the verbs its file uses and nothing else; tests read this back and try the forbidden ones. The stages
-- get theirs from outbox.grant_stage (0002).
GRANT USAGE ON SCHEMA qerds, outbox TO qerds_gateway, qerds_bridge, qerds_events, qerds_ops, qerds_operate;
GRANT SELECT ON qerds.installation, qerds.legal_clock, qerds.published_key, qerds.published_document TO
    qerds_gateway, qerds_bridge, qerds_events, qerds_operate;
GRANT INSERT ON qerds.published_key, qerds.published_document TO qerds_bridge;

REVOKE ALL ON FUNCTION qerds.keep_legal_clock_honest(), qerds.legal_now() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION qerds.legal_now() TO qerds_gateway, qerds_bridge, qerds_events, qerds_ops, qerds_operate;
