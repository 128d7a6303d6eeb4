-- How often a letter was identified for by somebody else, by how many persons, and how many of these are nearly the addressee:
-- told to the sender with each mismatch.
--
-- Gives          identifications, persons and persons_near of delivery.identity_mismatch
-- Locks          qerds.event_unsequenced and qerds.event, for an instant: the columns have no value for what is there
-- Old processes  may run: they tell an event without the numbers

ALTER TABLE qerds.event_unsequenced ADD COLUMN identifications integer, ADD COLUMN persons integer, ADD COLUMN persons_near integer;
ALTER TABLE qerds.event ADD COLUMN identifications integer, ADD COLUMN persons integer, ADD COLUMN persons_near integer;

-- The row itself is counted: the trigger runs after it.
CREATE OR REPLACE FUNCTION qerds.note_mismatch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO qerds.event_unsequenced (type, sender, delivery, state, identifications, persons, persons_near)
    SELECT 'delivery.identity_mismatch', d.sender, d.id, d.state, n.identifications, n.persons, n.persons_near
    FROM qerds.delivery d
    CROSS JOIN (SELECT count(*) AS identifications, count(DISTINCT i.person_sha256) AS persons,
                       count(DISTINCT i.person_sha256) FILTER (WHERE i.outcome = 'near') AS persons_near
                FROM qerds.identification i WHERE i.delivery = NEW.delivery AND i.outcome <> 'match') n
    WHERE d.id = NEW.delivery;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION qerds.sequence_events(lowest bigint, most integer, OUT sequenced bigint, OUT newest bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    base bigint;
BEGIN
    SELECT h.sequence INTO STRICT base FROM qerds.event_head h FOR UPDATE;
    WITH gone AS (
        DELETE FROM qerds.event_unsequenced u WHERE u.id = ANY (ARRAY(
            SELECT p.id FROM qerds.event_unsequenced p WHERE p.id >= lowest ORDER BY p.id LIMIT most))
        RETURNING u.id, u.type, u.sender, u.delivery, u.subject, u.state, u.at, u.ref, u.identifications, u.persons,
                  u.persons_near),
    placed AS (
        INSERT INTO qerds.event (sequence, id, type, time, sender, delivery, subject, number, client_ref, state, evidence,
                                 identifications, persons, persons_near)
        SELECT base + row_number() OVER (ORDER BY g.id), gen_random_uuid(), g.type, coalesce(e.event_time, g.at), g.sender,
               g.delivery, g.subject, d.number, coalesce(d.client_ref, g.ref), g.state, e.evidence, g.identifications, g.persons,
               g.persons_near
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
