-- The ledger compares what sealed evidence says of a person with the identifications: not with the provider's signed tokens.
--
-- Gives          the operator's right to read identifications
-- Locks          nothing that anybody uses
-- Old processes  may run: none knows of it

GRANT SELECT (id, delivery, provider, outcome, level, person_sha256, authenticated_at, at) ON qerds.identification TO qerds_operate;
