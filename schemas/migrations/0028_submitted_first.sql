-- Nothing happens to a letter before it was submitted either: a clock that was set back between the submission and the deposit is
-- waited for as between two events.
--
-- Gives          in not_before of qerds.lock_deliveries() the time of the submission
-- Locks          nothing that anybody uses for long: one function, replaced in place
-- Old processes  may run: they get later times from it, and wait for them as they know how

CREATE OR REPLACE FUNCTION qerds.lock_deliveries(ids uuid[])
RETURNS TABLE (delivery uuid, state text, stamped_through integer, next_sequence integer, predecessor_sha256 bytea,
               drafted text[], stamped text[], expires_at timestamptz, intent_alive boolean, consent_stands boolean,
               legal_time timestamptz, not_before timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM 1 FROM qerds.delivery d WHERE d.id = ANY (ids) ORDER BY d.id FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT d.id, d.state, d.stamped_through,
           coalesce(last.sequence, 0) + 1, last.sha256,
           ARRAY(SELECT e.event FROM qerds.evidence e WHERE e.delivery = d.id ORDER BY e.sequence),
           ARRAY(SELECT e.event FROM qerds.evidence e JOIN qerds.evidence_token t USING (evidence)
                 WHERE e.delivery = d.id ORDER BY e.sequence),
           w.expires_at,
           EXISTS (SELECT FROM qerds.decision_intent i
                   WHERE i.delivery = d.id AND i.made_at > clock_timestamp() - interval '60 s'),
           d.consent_ref IS NULL OR NOT EXISTS (SELECT FROM qerds.consent_withdrawal c
                                                WHERE c.sender = d.sender AND c.ref = d.consent_ref),
           qerds.legal_now(),
           -- The token's clock is another one, and may be ahead by the second that EN 319 421 allows it.
           greatest(date_trunc('milliseconds', d.submitted_at), last.event_time,
                    (SELECT t.gen_time - interval '1 s' FROM qerds.evidence_token t WHERE t.evidence = last.evidence))
    FROM qerds.delivery d
    LEFT JOIN LATERAL (SELECT e.evidence, e.sequence, e.sha256, e.event_time FROM qerds.evidence e
                       WHERE e.delivery = d.id ORDER BY e.sequence DESC LIMIT 1) last ON true
    LEFT JOIN qerds.acceptance_window w ON w.delivery = d.id
    WHERE d.id = ANY (ids);
END $$;
