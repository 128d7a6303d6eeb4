-- A role reads the columns that it uses: who seals and stamps sees no name and no address, and a receipt is read by who shows
-- it to the bridge, the operator's check apart.
--
-- Gives          narrower grants
-- Locks          nothing
-- Old processes  must not run: `archive` of the build before reads columns that it does not use

REVOKE SELECT ON qerds.delivery, qerds.delivery_document FROM qerds_seal, qerds_timestamp;
REVOKE SELECT ON qerds.evidence FROM qerds_ingest, qerds_encrypt, qerds_timestamp, qerds_notify, qerds_expire, qerds_archive;
GRANT SELECT (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, seal_key_id)
    ON qerds.evidence TO qerds_ingest, qerds_encrypt, qerds_timestamp, qerds_notify, qerds_expire, qerds_archive;
-- What a letter is about is told to its sender and its recipient.
REVOKE SELECT ON qerds.delivery FROM qerds_ingest, qerds_encrypt, qerds_notify, qerds_expire, qerds_archive;
GRANT SELECT (id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind, recipient_email, given_names,
              birth_name, usage_name, birth_date, organisation_name, organisation_siren, language, consent_ref, submitted_at, state,
              stamped_through, batch, settled_at, changed_at)
    ON qerds.delivery TO qerds_ingest, qerds_encrypt, qerds_notify, qerds_expire, qerds_archive;
