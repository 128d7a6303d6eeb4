-- The row of an evidence is bound to its bytes: its id follows from delivery, event and ordinal, and stands at its place in
-- the bytes, from which the bridge reads. So bytes of one letter or event never stand in the row of another. And a state
-- follows from stamped evidence in the database too: nobody sets one.
--
-- Gives          two checks of qerds.evidence, qerds.advance_deliveries()
-- Locks          qerds.evidence, while its rows are read once
-- Old processes  must not run: `timestamp` of the build before updates deliveries itself, which no role may any more

CREATE FUNCTION qerds.evidence_id(delivery uuid, event text, ordinal integer) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.encode(pg_catalog.set_byte(pg_catalog.set_byte(cut.h, 6, 128 | (pg_catalog.get_byte(cut.h, 6) & 15)),
                                                 8, 128 | (pg_catalog.get_byte(cut.h, 8) & 63)), 'hex')::uuid
    FROM (SELECT pg_catalog.substring(pg_catalog.sha256('qerds-evidence-v1'::bytea || pg_catalog.uuid_send(delivery)
                     || pg_catalog.convert_to(event, 'UTF8') || pg_catalog.int4send(ordinal)), 1, 16) AS h) AS cut
$$;
COMMENT ON FUNCTION qerds.evidence_id(uuid, text, integer) IS
    'The one name of a fact: mirror of the code''s evidence_id (pipeline/formats/evidence_head.py), kept equal by a test.';
REVOKE ALL ON FUNCTION qerds.evidence_id(uuid, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION qerds.evidence_id(uuid, text, integer)   -- a check is evaluated with the rights of who inserts
    TO qerds_gateway, qerds_ingest, qerds_encrypt, qerds_notify, qerds_expire;

ALTER TABLE qerds.evidence
    ADD CONSTRAINT evidence_is_named_by_its_fact CHECK (evidence = qerds.evidence_id(delivery, event, ordinal)),
    -- The head of the template: namespace, Id, version, identifier (pipeline/evidence/form/xml.py). Nothing may stand before it.
    ADD CONSTRAINT evidence_bytes_say_its_name CHECK (pg_catalog.substring(canonical, 1, 230) = pg_catalog.convert_to(
        '<erds:Evidence xmlns:erds="http://uri.etsi.org/19522/v1#" Id="evidence-' || evidence || '" version="EN319522v1.1.1">'
        || '<erds:EvidenceIdentifier>urn:uuid:' || evidence || '</erds:EvidenceIdentifier>', 'UTF8'));

-- ------------------------------------------------------------------ the state
-- What the state is when the stamped prefix has become longer; null unless every evidence up to there has its token.
CREATE FUNCTION qerds.state_after(id uuid, state text, stamped_through integer, through integer) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    seen text[] := ARRAY(SELECT e.event FROM qerds.evidence e WHERE e.delivery = id AND e.sequence <= stamped_through);
    place integer := stamped_through;
    step record;
BEGIN
    FOR step IN SELECT e.sequence, e.event FROM qerds.evidence e JOIN qerds.evidence_token t USING (evidence)
                WHERE e.delivery = id AND e.sequence > stamped_through AND e.sequence <= through ORDER BY e.sequence LOOP
        IF step.sequence <> place + 1 THEN
            RETURN NULL;
        END IF;
        place := step.sequence;
        seen := seen || step.event;
        state := coalesce((SELECT t.to_state FROM qerds.transition t WHERE t.from_state = state AND t.events <@ seen), state);
    END LOOP;
    RETURN CASE WHEN place = through THEN state END;
END $$;

-- From exactly the state and prefix that were read under the lock, to what follows from stamped evidence and to nothing
-- else. The first step takes the time of its proof along. Definer's rights: no role may update a delivery.
CREATE FUNCTION qerds.advance_deliveries(ids uuid[], old_states text[], old_through integer[], new_states text[], new_through integer[])
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    wrong uuid;
BEGIN
    SELECT a.id INTO wrong FROM unnest(ids, old_states, old_through, new_states, new_through) AS a(id, old_state, old_through, state, through)
    WHERE a.state IS DISTINCT FROM qerds.state_after(a.id, a.old_state, a.old_through, a.through) LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the state of % does not follow from its stamped evidence', wrong USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN QUERY
    UPDATE qerds.delivery d SET state = a.state, stamped_through = a.through, changed_at = (SELECT qerds.legal_now()),
        settled_at = CASE WHEN d.state = 'submitted' AND a.state <> 'submitted'
                          THEN (SELECT e.event_time FROM qerds.evidence e WHERE e.delivery = d.id AND e.event IN ('A.1', 'A.2'))
                          ELSE d.settled_at END
    FROM unnest(ids, old_states, old_through, new_states, new_through) AS a(id, old_state, old_through, state, through)
    WHERE d.id = a.id AND d.state = a.old_state AND d.stamped_through = a.old_through
    RETURNING d.id;
END $$;
REVOKE ALL ON FUNCTION qerds.state_after(uuid, text, integer, integer),
    qerds.advance_deliveries(uuid[], text[], integer[], text[], integer[]) FROM PUBLIC;
REVOKE UPDATE (state, stamped_through, settled_at, changed_at) ON qerds.delivery FROM qerds_timestamp;
GRANT EXECUTE ON FUNCTION qerds.advance_deliveries(uuid[], text[], integer[], text[], integer[]) TO qerds_timestamp;
