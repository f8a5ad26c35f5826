-- Every query of a person's index (its schema is in index_schema.sql). A line `-- name: x  what it is for` begins one.

-- name: files_all  The files that are indexed, as they were then.
SELECT name, id, size, mtime_ns, ctime_ns FROM files;

-- name: files_set  A file is indexed as it is now.
INSERT INTO files (name, size, mtime_ns, ctime_ns) VALUES (:name, :size, :mtime_ns, :ctime_ns)
ON CONFLICT (name) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns
RETURNING id;

-- name: files_remove  A file is gone; its units are taken out of the words before.
DELETE FROM files WHERE id = :id;

-- name: places_all  Where things were said.
SELECT id, place FROM places;

-- name: places_add  Another place.
INSERT INTO places (place) VALUES (:place) RETURNING id;

-- name: units_of_file  What is indexed of a file.
SELECT id, section, position, date, place, heading, role, text FROM units
WHERE at BETWEEN :file << 40 AND ((:file + 1) << 40) - 1 ORDER BY at;

-- name: units_last  The highest number that a unit ever had.
SELECT seq FROM sqlite_sequence WHERE name = 'units';

-- name: units_add  Another unit.
INSERT INTO units (id, file, section, position, date, place, heading, role, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: units_move  The same text stands elsewhere in its file now.
UPDATE units SET section = ?, position = ?, date = ?, place = ?, heading = ? WHERE id = ?;

-- name: units_remove  A unit is gone.
DELETE FROM units WHERE id = ?;

-- name: units_there  Those of some spots where something stands.
SELECT at FROM json_each(:spots) CROSS JOIN units ON at = value;

-- name: units_at  What stands at some spots.
SELECT at, units.id, date, place, heading, role, text FROM json_each(:spots) CROSS JOIN units ON at = value;

-- name: stems_add  A unit can be found.
INSERT INTO stems (rowid, text) VALUES (?, ?);

-- name: forms_add  A unit can be found.
INSERT INTO forms (rowid, text) VALUES (?, ?);

-- name: stems_remove  A unit can not be found any more. FTS5 wants to hear what it was given.
INSERT INTO stems (stems, rowid, text) VALUES ('delete', ?, ?);

-- name: forms_remove  A unit can not be found any more.
INSERT INTO forms (forms, rowid, text) VALUES ('delete', ?, ?);

-- name: stems_merge  Merge all that was added and removed: nothing remains of what was removed.
INSERT INTO stems (stems) VALUES ('optimize');

-- name: forms_merge  The same.
INSERT INTO forms (forms) VALUES ('optimize');

-- name: stems_find  Where the units stand that match best; of equals the newest. It is faster than ORDER BY rank alone.
SELECT at, -score FROM (
    SELECT rowid AS id, rank AS score FROM stems WHERE stems MATCH :match ORDER BY score, rowid DESC LIMIT :most
) CROSS JOIN units USING (id);

-- name: stems_find_among  The same of some days and places; `private` says whether what was said in none is among them.
SELECT at, -rank FROM stems CROSS JOIN units ON units.id = stems.rowid
WHERE stems MATCH :match AND date BETWEEN :first AND :last
  AND CASE WHEN place IS NULL THEN :private ELSE place IN (SELECT value FROM json_each(:places)) END
ORDER BY rank, units.id DESC LIMIT :most;

-- name: forms_find  The same among the forms.
SELECT at, -score FROM (
    SELECT rowid AS id, rank AS score FROM forms WHERE forms MATCH :match ORDER BY score, rowid DESC LIMIT :most
) CROSS JOIN units USING (id);

-- name: forms_find_among  The same of some days and places; see stems_find_among.
SELECT at, -rank FROM forms CROSS JOIN units ON units.id = forms.rowid
WHERE forms MATCH :match AND date BETWEEN :first AND :last
  AND CASE WHEN place IS NULL THEN :private ELSE place IN (SELECT value FROM json_each(:places)) END
ORDER BY rank, units.id DESC LIMIT :most;

-- name: vectors_model  Whose vectors these are.
SELECT name FROM vectors_model;

-- name: vectors_model_set  They are this model's.
INSERT INTO vectors_model (name) VALUES (:model);

-- name: vectors_model_clear  They are nobody's.
DELETE FROM vectors_model;

-- name: vectors_clear  Another model is to make them all.
DELETE FROM vectors;

-- name: vectors_set  What a unit means.
INSERT OR REPLACE INTO vectors (unit, vector) VALUES (:unit, :vector);

-- name: vectors_text  A unit, and the message before it.
SELECT units.text, previous.text FROM units
LEFT JOIN units AS previous ON previous.at = units.at - 1 AND units.position > 0 WHERE units.id = :id;

-- name: vectors_wanted  Units without a vector, the newest first, with the message before each.
SELECT units.id, units.text, previous.text FROM units
LEFT JOIN units AS previous ON previous.at = units.at - 1 AND units.position > 0
WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE unit = units.id)
ORDER BY units.id DESC LIMIT :most;

-- name: vectors_among  Vectors of the units of some days and places; see stems_find_among.
SELECT at, vector FROM units JOIN vectors ON vectors.unit = units.id
WHERE length(vector) = :dimensions AND units.date BETWEEN :first AND :last
  AND CASE WHEN place IS NULL THEN :private ELSE place IN (SELECT value FROM json_each(:places)) END;

-- name: unmerged_add  Units were added or removed.
UPDATE unmerged SET added = added + :added, removed = removed + :removed;

-- name: unmerged_get  What is not merged yet, and how many units there are.
SELECT added, removed, (SELECT count(*) FROM units) FROM unmerged;

-- name: unmerged_clear  All is merged.
UPDATE unmerged SET added = 0, removed = 0;
