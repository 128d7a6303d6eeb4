-- What an operator looks at: every message wherever it is, and the columns that `ledger check` compares. Reading only;
-- no column with content, a key, a mail or a person's answer to the identity provider is among them.

-- One row per message in whatever place it waits. With the reader's own rights: a stage still sees its own rows only.
CREATE FUNCTION outbox.create_message_view(stages text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    same CONSTANT text := 'kind, delivery, evidence, ordinal, attempts, rescues, enqueued_at';
    parts text[] := '{}';
    stage text;
BEGIN
    FOREACH stage IN ARRAY stages LOOP
        parts := parts || format('SELECT %L::text AS stage, ''waiting''::text AS place, id, lane, NULL::bigint AS epoch, '
                                 'NULL::timestamptz AS due_at, %s FROM outbox.%I', stage, same, stage)
                       || format('SELECT %L, ''running'', id, lane, epoch, NULL, %s FROM outbox.%I',
                                 stage, same, stage || '_running');
    END LOOP;
    parts := parts || format('SELECT stage, ''timer'', id, lane, NULL, due_at, %s FROM outbox.timer', same)
                   || format('SELECT stage, ''legal_timer'', id, lane, NULL, due_at, %s FROM outbox.legal_timer', same)
                   || format('SELECT stage, ''dead'', id, lane, NULL, NULL, %s FROM outbox.dead', same);
    EXECUTE 'CREATE OR REPLACE VIEW outbox.message WITH (security_invoker = true) AS '
            || array_to_string(parts, ' UNION ALL ');
END $$;
SELECT outbox.create_message_view(ARRAY['ingest', 'encrypt', 'seal', 'timestamp', 'notify', 'expire', 'archive']);

REVOKE ALL ON FUNCTION outbox.create_message_view(text[]) FROM PUBLIC;
GRANT SELECT ON outbox.message TO qerds_operate;
GRANT SELECT ON qerds.snapshot, qerds.log_leaf, qerds.decision_intent, qerds.handover, qerds.object_mark TO qerds_operate;
GRANT SELECT (delivery, key_id, at) ON qerds.content_wrap TO qerds_operate;
GRANT SELECT (upload, segment, object) ON qerds.upload_segment TO qerds_operate;
