-- How often an address is asked for consent counts its tags as the one mailbox that they are: a+1@ and a+2@ are a@.
--
-- Gives          qerds.untagged(), an index for it instead of the one by address
-- Locks          qerds.consent_request, while its index is made
-- Old processes  may run: they count as before, without an index

CREATE FUNCTION qerds.untagged(email text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.lower(pg_catalog.regexp_replace(email, '[+][^@]*@', '@'))
$$;
COMMENT ON FUNCTION qerds.untagged(text) IS 'The mailbox of an address (RFC 5233), in lower case.';
REVOKE ALL ON FUNCTION qerds.untagged(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION qerds.untagged(text) TO qerds_gateway;
CREATE INDEX consent_request_by_mailbox ON qerds.consent_request (sender, qerds.untagged(email), asked_at);   -- how often asked
DROP INDEX qerds.consent_request_by_address;
