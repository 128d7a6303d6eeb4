-- What nobody can use any more. As qerds_archive, the only role that deletes contents; rows first, the objects after the commit.

-- name: drop_uploads
-- Of the next $4 that are over for so long, after a place: those that no letter names, with their segments and wraps. Objects
-- that others share (a pack) are not told. A letter that begins to use one of them meanwhile makes this statement fail by its
-- foreign key, or fails itself. Walked by the index upload_by_expiry, so that a page costs a page however many are in use.
WITH page AS (
    SELECT u.id, u.expires_at FROM qerds.upload u
    WHERE (u.expires_at, u.id) > ($1::timestamptz, $2::uuid)
      AND u.expires_at <= now() - make_interval(secs => $3::double precision)
    ORDER BY u.expires_at, u.id LIMIT $4::integer),
gone AS (SELECT p.id FROM page p WHERE NOT EXISTS (SELECT FROM qerds.delivery_document x WHERE x.upload = p.id)),
last AS (SELECT p.expires_at, p.id FROM page p ORDER BY p.expires_at DESC, p.id DESC LIMIT 1),
segments AS (DELETE FROM qerds.upload_segment g USING gone WHERE g.upload = gone.id RETURNING g.object),
wraps AS (DELETE FROM qerds.upload_wrap w USING gone WHERE w.upload = gone.id),
uploads AS (DELETE FROM qerds.upload u USING gone WHERE u.id = gone.id RETURNING u.id)
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM uploads) AS uploads,
       (SELECT l.expires_at FROM last l) AS last_expires_at, (SELECT l.id FROM last l) AS last_id,
       ARRAY(SELECT DISTINCT s.object FROM segments s
             WHERE NOT EXISTS (SELECT FROM qerds.pack p WHERE p.object = s.object)) AS objects;

-- name: drop_packs
-- Of which no content is left.
DELETE FROM qerds.pack p WHERE p.object IN (
    SELECT o.object FROM qerds.pack o
    WHERE o.created_at <= now() - make_interval(secs => $1::double precision)
      AND NOT EXISTS (SELECT FROM qerds.upload_segment g WHERE g.object = o.object)
    LIMIT $2::integer)
RETURNING p.object;

-- name: unnamed_objects
-- Every table that names objects is here: tests/db/test_janitor.py compares with the schema.
SELECT n.object FROM unnest($1::text[]) AS n(object)
WHERE NOT EXISTS (SELECT FROM qerds.upload_segment g WHERE g.object = n.object)
  AND NOT EXISTS (SELECT FROM qerds.pack p WHERE p.object = n.object)
  AND NOT EXISTS (SELECT FROM qerds.snapshot s WHERE s.object = n.object)
  AND NOT EXISTS (SELECT FROM qerds.batch_proof b WHERE b.object = n.object)
  AND NOT EXISTS (SELECT FROM qerds.export_step e WHERE e.object = n.object);
