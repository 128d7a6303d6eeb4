-- What senders are told: events in an order without holes, and the webhooks that carry them. See docs/events.md.
--
-- Gives          the list of events, webhooks, their retries and delivery log
-- Locks          the tables that get a trigger, against writing and for an instant
-- Old processes  may run: the triggers have the owner's rights, so nobody needs a new one
--
-- The transaction that makes a fact also leaves one narrow row in event_unsequenced. Transactions commit in another order
-- than they draw numbers, so no number drawn inside them could be a cursor: a reader would pass a late one. The sequencer
-- gives each row its place after it is committed, under the lock of one row (event_head). So places are given in the order
-- in which they become visible, and a late committer gets a late place.

CREATE TABLE qerds.event_type (
    type  text PRIMARY KEY,
    state text UNIQUE,                                         -- the state of a delivery that this type announces
    proof text                                                 -- the event whose evidence shows it
);
COMMENT ON TABLE qerds.event_type IS
    'What senders can be told: mirror of the code''s table, kept equal by a test. Inserts: nobody.';
INSERT INTO qerds.event_type (type, state, proof) VALUES
    ('delivery.deposited',         'deposited',     'A.1'),
    ('delivery.rejected',          'rejected',      'A.2'),
    ('delivery.notified',          'notified',      'C.1'),
    ('delivery.notice_failed',     'notice_failed', 'C.2'),
    ('delivery.accepted',          'accepted',      'C.3'),
    ('delivery.refused',           'refused',       'C.4'),
    ('delivery.unclaimed',         'unclaimed',     'C.5'),
    ('delivery.received',          'received',      'E.1'),
    ('delivery.uncollected',       'uncollected',   'E.2'),
    ('delivery.package_ready',     NULL,            NULL),
    ('delivery.identity_mismatch', NULL,            NULL),
    ('batch.completed',            NULL,            NULL),
    ('webhook.disabled',           NULL,            NULL),
    ('export.ready',               NULL,            NULL),
    ('consent.given',              NULL,            NULL),
    ('consent.refused',            NULL,            NULL),
    ('consent.withdrawn',          NULL,            NULL);

-- INSERT and DELETE only, one index: what it costs is paid by every stamped event.
CREATE TABLE qerds.event_unsequenced (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type     text        NOT NULL,
    sender   uuid        NOT NULL,
    delivery uuid,
    subject  uuid,                                             -- the batch or webhook, where it is about none of its deliveries
    state    text,
    at       timestamptz NOT NULL DEFAULT qerds.legal_now(),
    ref      text                                              -- the sender's own reference of a consent, in place of a client_ref
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
COMMENT ON TABLE qerds.event_unsequenced IS
    'A committed fact that has no place yet. Inserts: nobody; triggers of the facts do, so that no process may forge one.';

CREATE TABLE qerds.event (
    sequence     bigint PRIMARY KEY,
    id           uuid        NOT NULL UNIQUE,
    type         text        NOT NULL,
    time         timestamptz NOT NULL,                         -- of the evidence that shows it, else of the fact: legal time
    sender       uuid        NOT NULL,
    delivery     uuid,
    subject      uuid,
    number       text,
    client_ref   text,
    state        text,
    evidence     uuid,
    sequenced_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.event IS
    'What a sender is told, at its place; kept 400 days. Inserts: nobody; qerds.sequence_events does.';
CREATE INDEX event_by_sender   ON qerds.event (sender, sequence);
CREATE INDEX event_by_delivery ON qerds.event (delivery, sequence) WHERE delivery IS NOT NULL;

CREATE TABLE qerds.event_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    sequence bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE qerds.event_head IS 'The one row says the last place that was given. Inserts: nobody.';
INSERT INTO qerds.event_head (sequence) VALUES (0);

-- Definer's rights: nobody places, changes or removes an event but through these two. The place is read under the lock of
-- the head and a statement of its own follows, which sees all that was committed until then; so two sequencers that both
-- believe to be elected still give every row one place and leave no hole.
CREATE FUNCTION qerds.sequence_events(lowest bigint, most integer, OUT sequenced bigint, OUT newest bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    base bigint;
BEGIN
    SELECT h.sequence INTO STRICT base FROM qerds.event_head h FOR UPDATE;
    WITH gone AS (
        DELETE FROM qerds.event_unsequenced u WHERE u.id = ANY (ARRAY(
            SELECT p.id FROM qerds.event_unsequenced p WHERE p.id >= lowest ORDER BY p.id LIMIT most))
        RETURNING u.id, u.type, u.sender, u.delivery, u.subject, u.state, u.at, u.ref),
    placed AS (
        INSERT INTO qerds.event (sequence, id, type, time, sender, delivery, subject, number, client_ref, state, evidence)
        SELECT base + row_number() OVER (ORDER BY g.id), gen_random_uuid(), g.type, coalesce(e.event_time, g.at), g.sender,
               g.delivery, g.subject, d.number, coalesce(d.client_ref, g.ref), g.state, e.evidence
        FROM gone g
        LEFT JOIN qerds.delivery d ON d.id = g.delivery
        LEFT JOIN qerds.event_type t ON t.type = g.type
        LEFT JOIN LATERAL (SELECT v.evidence, v.event_time FROM qerds.evidence v
                           WHERE v.delivery = g.delivery AND v.event = t.proof ORDER BY v.sequence DESC LIMIT 1) e ON true)
    SELECT count(*), max(g.id) INTO sequenced, newest FROM gone g;
    IF sequenced > 0 THEN
        UPDATE qerds.event_head h SET sequence = base + sequenced;
    END IF;
END $$;

-- ------------------------------------------------------------------ webhooks
CREATE TABLE qerds.webhook (
    id              uuid PRIMARY KEY,
    sender          uuid        NOT NULL REFERENCES qerds.sender,
    url             text        NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
    types           text[]      NOT NULL DEFAULT '{}',         -- none: all
    signature       text        NOT NULL CHECK (signature IN ('v1a', 'v1')),
    enabled         boolean     NOT NULL DEFAULT true,
    disabled_reason text        CHECK (disabled_reason IN ('by_sender', 'gone', 'exhausted')),
    generation      integer     NOT NULL DEFAULT 1,            -- rises with what its sender changes: an answer from before moves nothing
    read_through    bigint      NOT NULL,                      -- the cursor: events up to here are delivered, set aside or not wanted
    failures        integer     NOT NULL DEFAULT 0,            -- in a row
    paused_until    timestamptz,                               -- the endpoint asked for it (Retry-After)
    last_success_at timestamptz,
    under_way       boolean     NOT NULL DEFAULT false,        -- it has its one message in the mailbox
    tested_at       timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (enabled = (disabled_reason IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE qerds.webhook IS 'An endpoint of a sender, and how far it was told. Inserts: gateway.';
CREATE INDEX webhook_by_sender ON qerds.webhook (sender, id);

CREATE TABLE qerds.webhook_secret (
    webhook uuid PRIMARY KEY REFERENCES qerds.webhook ON DELETE CASCADE,
    secret  bytea NOT NULL CHECK (length(secret) BETWEEN 24 AND 64)
);
COMMENT ON TABLE qerds.webhook_secret IS
    'The secret of a v1 signature; read by the process that signs, by nobody else. Inserts: gateway.';
CREATE TABLE qerds.webhook_retry (
    webhook  uuid        NOT NULL REFERENCES qerds.webhook ON DELETE CASCADE,
    sequence bigint      NOT NULL,
    tries    smallint    NOT NULL CHECK (tries >= 1),
    first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at   timestamptz NOT NULL,
    PRIMARY KEY (webhook, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE qerds.webhook_retry IS 'An event set aside: it failed and will be tried again. Inserts: webhook.';
CREATE TABLE qerds.webhook_attempt (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook      uuid        NOT NULL REFERENCES qerds.webhook ON DELETE CASCADE,
    event        uuid        NOT NULL,
    type         text        NOT NULL,
    attempt      smallint    NOT NULL,
    outcome      text        NOT NULL CHECK (length(outcome) <= 40),   -- delivered, or why not
    status       smallint,                                     -- of HTTP, when there was an answer
    milliseconds integer     NOT NULL,
    next_try_at  timestamptz,                                  -- null: delivered or given up
    at           timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE qerds.webhook_attempt IS 'One request to an endpoint and its answer; kept 30 days. Inserts: webhook.';
CREATE INDEX webhook_attempt_by_webhook ON qerds.webhook_attempt (webhook, id);

-- The oldest few thousand at a time, found at the low end of the key.
CREATE FUNCTION qerds.forget_events(most integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH attempts AS (
        DELETE FROM qerds.webhook_attempt a USING (SELECT o.id, o.at FROM qerds.webhook_attempt o ORDER BY o.id LIMIT most) oldest
        WHERE a.id = oldest.id AND oldest.at < clock_timestamp() - interval '30 days' RETURNING 1),
    events AS (
        DELETE FROM qerds.event e USING (SELECT o.sequence, o.sequenced_at FROM qerds.event o ORDER BY o.sequence LIMIT most) oldest
        WHERE e.sequence = oldest.sequence AND oldest.sequenced_at < clock_timestamp() - interval '400 days' RETURNING 1)
    SELECT (SELECT count(*) FROM attempts) + (SELECT count(*) FROM events)
$$;

-- ------------------------------------------------------------------ the facts leave their rows
-- Triggers, not statements of the processes: a state cannot advance without its event, and no process needs the right to
-- write events, which would be the right to forge them. Per statement, so that a batch of a hundred costs one INSERT.
CREATE FUNCTION qerds.note_states() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, delivery, state, at)
    SELECT 'delivery.' || a.state, a.sender, a.id, a.state, legal.now
    FROM after_rows a JOIN before_rows b ON b.id = a.id AND b.state <> a.state,
         (SELECT qerds.legal_now() AS now) legal;
    RETURN NULL;
END $$;
CREATE TRIGGER note_states AFTER UPDATE ON qerds.delivery
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION qerds.note_states();

CREATE FUNCTION qerds.note_snapshots() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, delivery, state)
    SELECT 'delivery.package_ready', d.sender, d.id, d.state FROM after_rows a JOIN qerds.delivery d ON d.id = a.delivery;
    RETURN NULL;
END $$;
CREATE TRIGGER note_snapshots AFTER INSERT ON qerds.snapshot
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION qerds.note_snapshots();

CREATE FUNCTION qerds.note_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, subject, state) VALUES (
        TG_ARGV[0], NEW.sender, NEW.id, CASE TG_ARGV[0] WHEN 'batch.completed' THEN to_jsonb(NEW) ->> 'state' END);
    RETURN NULL;
END $$;
CREATE TRIGGER note_completion AFTER UPDATE ON qerds.batch FOR EACH ROW
    WHEN (NEW.state IN ('completed', 'completed_with_errors') AND OLD.state <> NEW.state)
    EXECUTE FUNCTION qerds.note_row('batch.completed');
CREATE TRIGGER note_disabling AFTER UPDATE ON qerds.webhook FOR EACH ROW
    WHEN (OLD.enabled AND NEW.disabled_reason IN ('gone', 'exhausted')) EXECUTE FUNCTION qerds.note_row('webhook.disabled');

-- An identification that matches nobody changes no state: the event says where the letter stood, and no word about the person.
CREATE FUNCTION qerds.note_mismatch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, delivery, state)
    SELECT 'delivery.identity_mismatch', d.sender, d.id, d.state FROM qerds.delivery d WHERE d.id = NEW.delivery;
    RETURN NULL;
END $$;
CREATE TRIGGER note_mismatch AFTER INSERT ON qerds.identification FOR EACH ROW
    WHEN (NEW.outcome <> 'match') EXECUTE FUNCTION qerds.note_mismatch();

-- ------------------------------------------------------------------ who may do what
REVOKE ALL ON FUNCTION qerds.sequence_events(bigint, integer), qerds.forget_events(integer), qerds.note_states(),
    qerds.note_snapshots(), qerds.note_row(), qerds.note_mismatch() FROM PUBLIC;

-- events: places, forgets, and wakes webhooks that have something to do
GRANT EXECUTE ON FUNCTION qerds.sequence_events(bigint, integer), qerds.forget_events(integer) TO qerds_events;
GRANT SELECT ON qerds.event, qerds.event_head, qerds.webhook, qerds.webhook_retry TO qerds_events;
GRANT SELECT (id, at) ON qerds.event_unsequenced TO qerds_events;
GRANT UPDATE (under_way) ON qerds.webhook TO qerds_events;

-- webhook: what became of its attempts
GRANT SELECT ON qerds.event, qerds.webhook, qerds.webhook_secret TO qerds_webhook;
GRANT SELECT, INSERT, DELETE, UPDATE (tries, due_at) ON qerds.webhook_retry TO qerds_webhook;
GRANT INSERT ON qerds.webhook_attempt TO qerds_webhook;
GRANT UPDATE (enabled, disabled_reason, read_through, failures, paused_until, last_success_at, under_way)
    ON qerds.webhook TO qerds_webhook;

-- gateway: what its sender asks for; a secret goes in and never out
GRANT SELECT ON qerds.event, qerds.event_head, qerds.webhook_attempt TO qerds_gateway;
GRANT SELECT, INSERT, DELETE ON qerds.webhook TO qerds_gateway;
GRANT UPDATE (url, types, enabled, disabled_reason, generation, read_through, failures, paused_until, tested_at)
    ON qerds.webhook TO qerds_gateway;
GRANT INSERT ON qerds.webhook_secret TO qerds_gateway;
GRANT SELECT (webhook, sequence), DELETE ON qerds.webhook_retry TO qerds_gateway;

GRANT SELECT ON qerds.event_type, qerds.event_unsequenced, qerds.event, qerds.event_head, qerds.webhook, qerds.webhook_retry
    TO qerds_operate;
