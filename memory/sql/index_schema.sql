-- A person's index: derived from the files of their folder, thrown away whenever this schema is another.

CREATE TABLE files (                                -- those that are indexed, as they were then
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL                       -- 0: was changed a moment before, so the times may miss the next change
) STRICT;
CREATE TABLE places (                               -- where something was said in company
    id    INTEGER PRIMARY KEY,
    place TEXT NOT NULL UNIQUE                      -- JSON: an id may hold what is no Unicode
) STRICT;
CREATE TABLE units (                                -- what is found: a message, a note, a fact
    id       INTEGER PRIMARY KEY AUTOINCREMENT,     -- of another text it is another
    file     INTEGER NOT NULL,
    section  INTEGER NOT NULL,                      -- counted in the file
    position INTEGER NOT NULL,                      -- counted in the section; -1: stands before its messages
    -- The order of everything: neighbours in a conversation are next to each other, and conversations far apart.
    at       INTEGER GENERATED ALWAYS AS ((file << 40) | (section << 20) | (position + 1)) VIRTUAL,
    date     TEXT NOT NULL,                         -- '': not known
    place    INTEGER REFERENCES places,             -- NULL: private
    heading  TEXT NOT NULL,
    role     TEXT NOT NULL,
    text     TEXT NOT NULL
) STRICT;
CREATE INDEX units_at ON units (at);
CREATE VIRTUAL TABLE stems USING fts5(              -- words in all their forms
    text, content = '', tokenize = "porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"
);
CREATE VIRTUAL TABLE forms USING fts5(              -- words as they were written
    text, content = '', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"
);
CREATE TABLE vectors (                              -- what units mean; empty where no model can tell
    unit   INTEGER PRIMARY KEY REFERENCES units ON DELETE CASCADE,
    vector BLOB NOT NULL                            -- a signed byte per dimension; of the unit and the message before it
) STRICT;
CREATE TABLE vectors_model (                        -- whose vectors these are; one row, or none
    name TEXT NOT NULL
) STRICT;
CREATE TRIGGER vectors_unit_gone AFTER DELETE ON units BEGIN
    DELETE FROM vectors WHERE unit IN (SELECT id FROM units WHERE at = old.at + 1);
END;
CREATE TRIGGER vectors_unit_moved AFTER UPDATE OF section, position ON units
WHEN old.at <> new.at BEGIN
    DELETE FROM vectors WHERE unit = new.id OR unit IN (SELECT id FROM units WHERE at = old.at + 1);
END;
CREATE TABLE unmerged (                             -- what FTS5 holds in pieces; one row
    added   INTEGER NOT NULL,                       -- units since it was merged
    removed INTEGER NOT NULL
) STRICT;
INSERT INTO unmerged VALUES (0, 0);
