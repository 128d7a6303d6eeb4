-- The rows of a letter that is ordered: from one submission, from the many of a draw, and as its evidence reads them back.

-- name: add_delivery
-- Inside. No row back: the client_ref is taken, or (rarely) the number. Waits for a rival that is about to commit.
INSERT INTO qerds.delivery (id, number, sender, client_ref, request_sha256, mode, config_version, recipient_kind,
    recipient_email, given_names, birth_name, usage_name, birth_date, organisation_name, organisation_siren, language,
    consent_ref, subject, metadata, lane, submitted_at)
VALUES ($1::uuid, $2::text, $3::uuid, $4::text, $5::bytea, $6::text, $7::text, $8::text, $9::text, $10::text, $11::text,
    $12::text, $13::text, $14::text, $15::text, $16::text, $17::text, $18::text, $19::jsonb, $20::smallint, qerds.legal_now())
ON CONFLICT DO NOTHING RETURNING submitted_at;

-- name: add_delivery_document
-- Inside, after its delivery. The foreign key refuses an upload that is gone meanwhile.
INSERT INTO qerds.delivery_document (delivery, part, upload, file_name, sha256)
VALUES ($1::uuid, $2::smallint, $3::uuid, $4::text, $5::bytea);

-- name: add_drawn_deliveries
-- Inside, in the order of client_ref, so that two draws of one sender wait for each other and never deadlock. What does
-- not come back has a rival.
INSERT INTO qerds.delivery (id, number, sender, client_ref, request_sha256, lane, mode, config_version, recipient_kind,
    recipient_email, given_names, birth_name, usage_name, birth_date, organisation_name, organisation_siren, language,
    consent_ref, subject, metadata, batch, submitted_at)
SELECT o.id, o.number, o.sender, o.client_ref, o.request_sha256, 2, o.mode, o.config_version, o.recipient_kind,
    o.recipient_email, o.given_names, o.birth_name, o.usage_name, o.birth_date, o.organisation_name, o.organisation_siren,
    o.language, o.consent_ref, o.subject, o.metadata::jsonb, o.batch, (SELECT qerds.legal_now())
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
    $19::text[], $20::uuid[])
    AS o(id, number, sender, client_ref, request_sha256, mode, config_version, recipient_kind, recipient_email, given_names,
         birth_name, usage_name, birth_date, organisation_name, organisation_siren, language, consent_ref, subject, metadata,
         batch)
ON CONFLICT DO NOTHING RETURNING id;

-- name: add_drawn_documents
-- Inside, after their deliveries.
INSERT INTO qerds.delivery_document (delivery, part, upload, file_name, sha256)
SELECT x.delivery, x.part, x.upload, x.file_name, x.sha256
FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::text[], $5::bytea[]) AS x(delivery, part, upload, file_name, sha256);

-- name: read_dossiers
-- Everything an evidence says about a delivery, but the documents.
SELECT d.id AS delivery, d.number, d.client_ref, d.mode, d.config_version, d.submitted_at, d.consent_ref, d.state,
       d.recipient_kind, d.recipient_email, d.given_names, d.birth_name, d.usage_name, d.birth_date,
       d.organisation_name, d.organisation_siren, d.language,
       s.name AS sender_name, s.email AS sender_email, s.identity_level, s.identity_method, s.identified_at,
       a.evidence AS deposit_evidence, a.sha256 AS deposit_sha256, a.event_time AS deposited_at, sha256(l.signature) AS deposit_seal_sha256
FROM qerds.delivery d
JOIN qerds.sender s ON s.id = d.sender
LEFT JOIN (qerds.evidence a JOIN qerds.evidence_seal l ON l.evidence = a.evidence)
       ON a.delivery = d.id AND a.event = 'A.1' AND d.stamped_through >= 1
WHERE d.id = ANY ($1::uuid[]);
