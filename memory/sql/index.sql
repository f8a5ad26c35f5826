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
SELECT id, platform, kind, chat_id, title, thread FROM places;

-- name: places_add  Another place.
INSERT INTO places (platform, kind, chat_id, title, thread) VALUES (:platform, :kind, :chat_id, :title, :thread)
RETURNING id;

-- name: units_of_file  What is indexed of a file.
SELECT id, section, position, date, place, heading, role, text FROM units WHERE file = :file ORDER BY section, position;

-- name: units_last  The highest number that a unit ever had.
SELECT seq FROM sqlite_sequence WHERE name = 'units';

-- name: units_add  Another unit.
INSERT INTO units (id, file, section, position, date, place, heading, role, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: units_move  The same text stands elsewhere in its file now.
UPDATE units SET section = ?, position = ?, date = ?, place = ?, heading = ? WHERE id = ?;

-- name: units_remove  A unit is gone.
DELETE FROM units WHERE id = ?;

-- name: units_all  Every unit's text.
SELECT id, text FROM units ORDER BY id;

-- name: units_readable  The units of some days and places; `private` says whether those of no place are among them.
SELECT id FROM units
WHERE date BETWEEN :first AND :last
  AND CASE WHEN place IS NULL THEN :private ELSE place IN (SELECT value FROM json_each(:places)) END;

-- name: units_get  A unit and its place.
SELECT file, section, position, date, heading, role, text, platform, kind, chat_id, title, thread
FROM units LEFT JOIN places ON places.id = units.place WHERE units.id = :id;

-- name: units_around  The messages before and after a unit, and itself.
SELECT position, role, text FROM units
WHERE file = :file AND section = :section AND position BETWEEN :first AND :last ORDER BY position;

-- name: words_add  A unit can be found.
INSERT INTO words (rowid, stems, exact) VALUES (?, ?, ?);

-- name: words_remove  A unit can not be found any more. FTS5 wants to hear what it was given.
INSERT INTO words (words, rowid, stems, exact) VALUES ('delete', ?, ?, ?);

-- name: words_merge  Merge all that was added and removed: nothing remains of what was removed.
INSERT INTO words (words) VALUES ('optimize');

-- name: words_find  The units that match best.
SELECT rowid, rank FROM words WHERE words MATCH :match ORDER BY rank LIMIT :most;

-- name: words_find_among  The units of some days and places that match best; see units_readable.
SELECT words.rowid, rank FROM words JOIN units ON units.id = words.rowid
WHERE words MATCH :match AND units.date BETWEEN :first AND :last
  AND CASE WHEN place IS NULL THEN :private ELSE place IN (SELECT value FROM json_each(:places)) END
ORDER BY rank LIMIT :most;

-- name: chores_add  Something is to be done when nobody waits.
INSERT INTO chores (name) VALUES (:name) ON CONFLICT DO NOTHING;

-- name: chores_all  What is to be done.
SELECT name FROM chores;

-- name: chores_done  It is all done.
DELETE FROM chores;
