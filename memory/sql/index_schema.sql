-- A person's index: derived from the files of their folder, thrown away whenever this schema is another.

CREATE TABLE files (                                -- those that are indexed, as they were then
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL                       -- 0: was changed a moment before, so the times may miss the next change
) STRICT;
CREATE TABLE places (                               -- where something was said in company
    id       INTEGER PRIMARY KEY,
    platform TEXT NOT NULL,
    kind     TEXT NOT NULL,
    chat_id  TEXT NOT NULL,
    title    TEXT NOT NULL,
    thread   TEXT NOT NULL,
    UNIQUE (platform, kind, chat_id, title, thread)
) STRICT;
CREATE TABLE units (                                -- what is found: a message, a note, a fact
    id       INTEGER PRIMARY KEY AUTOINCREMENT,     -- of another text it is another
    file     INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    section  INTEGER NOT NULL,                      -- counted in the file
    position INTEGER NOT NULL,                      -- counted in the section; -1: stands before its messages
    date     TEXT NOT NULL,
    place    INTEGER REFERENCES places,             -- NULL: private
    heading  TEXT NOT NULL,
    role     TEXT NOT NULL,
    text     TEXT NOT NULL
) STRICT;
CREATE INDEX units_order ON units (file, section, position);
CREATE INDEX units_date ON units (date);
CREATE VIRTUAL TABLE words USING fts5(
    stems, exact, content = '', tokenize = "porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"
);
CREATE TABLE chores (                               -- owed to the index, to be done when nobody waits
    name TEXT PRIMARY KEY
) STRICT;
