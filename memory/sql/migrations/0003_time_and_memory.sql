-- One person on several platforms, erasure, what is to happen at a time, files that are sent, conversations that close by themselves.

CREATE TABLE links (                                -- user ids that are one person; who is alone has no row
    user_id TEXT PRIMARY KEY,
    person  TEXT NOT NULL,                          -- the same for all of them; means nothing else
    at      REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX links_person ON links (person);
CREATE TABLE link_codes (                           -- given to who asked to be linked, to be typed on the other platform
    code       TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    language   TEXT NOT NULL,
    chat       TEXT NOT NULL,                       -- JSON of the private chat where they are to be told; '': their home
    shown_to   TEXT NOT NULL DEFAULT '[]',          -- JSON list of the user ids that were told whose it is
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE link_tries (                           -- codes that were none, or of somebody else
    user_id TEXT NOT NULL,
    at      REAL NOT NULL
) STRICT;
CREATE INDEX link_tries_user ON link_tries (user_id, at);
CREATE TABLE link_notices (                         -- who is to be told, by who runs their platform, that they were linked or parted
    id       INTEGER PRIMARY KEY AUTOINCREMENT,     -- never used again: by it the telling happens once
    user_id  TEXT NOT NULL,
    language TEXT NOT NULL,
    chat     TEXT NOT NULL,                         -- JSON of their private chat
    others   TEXT NOT NULL,                         -- JSON list of the user ids that they were linked with, or parted from
    linked   INTEGER NOT NULL,                      -- 0: parted
    at       REAL NOT NULL
) STRICT;

CREATE TABLE homes (                                -- the private chat of a person
    user_id TEXT PRIMARY KEY,
    chat    TEXT NOT NULL                           -- JSON of the chat
) STRICT, WITHOUT ROWID;
ALTER TABLE people ADD COLUMN quiet TEXT NOT NULL DEFAULT '';     -- 22:00-07:00 in their zone; '': none

CREATE TABLE erasures (                             -- people whose everything is to go; done by who runs their platform
    user_id   TEXT PRIMARY KEY,
    person    TEXT NOT NULL,                        -- the user id that asked: those of one person are erased for the same asking
    asked_at  REAL NOT NULL,
    upto      INTEGER,                              -- the last row of the inbox that goes; what came later stays. NULL: not begun
    erased_at REAL,                                 -- when rows and files were gone; NULL: they are not
    done_at   REAL,                                 -- when nothing of them was left in the database's files; NULL: it is owed
    tell      TEXT NOT NULL DEFAULT '',             -- JSON of where to say that it is done; '': nowhere, or it was said
    spent     TEXT NOT NULL DEFAULT '[]'            -- JSON list of the scopes of `spend` whose running day was left
) STRICT, WITHOUT ROWID;
CREATE TABLE forget_codes (                         -- with which people confirm that they want to be forgotten
    user_id    TEXT PRIMARY KEY,
    code       TEXT NOT NULL,
    people     TEXT NOT NULL,                       -- JSON list of the user ids that they were told
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE turns ADD COLUMN user_id TEXT NOT NULL DEFAULT '';    -- who asked; '': not known (an older version's), or forgotten
UPDATE turns SET user_id = coalesce((SELECT user_id FROM inbox WHERE inbox.id = turns.id), '');
UPDATE turns SET user_id = called.user_id FROM (SELECT DISTINCT turn_id, user_id FROM usage) AS called
WHERE called.turn_id = turns.id AND turns.user_id = '';
CREATE INDEX turns_running ON turns (stream_id) WHERE state = 'running';
ALTER TABLE room ADD COLUMN user_id TEXT NOT NULL DEFAULT '';     -- who said it; of our own replies: who had asked
CREATE TABLE room_people (                          -- who was heard in a group; '': somebody, by an older version
    user_id  TEXT NOT NULL,
    chat_key TEXT NOT NULL,
    PRIMARY KEY (user_id, chat_key)
) STRICT, WITHOUT ROWID;
INSERT INTO room_people (user_id, chat_key) SELECT DISTINCT '', chat_key FROM room;
INSERT INTO room_people (user_id, chat_key)         -- a stream's key is its chat's, a colon, and whose it is
SELECT DISTINCT '', substr(key, 1, length(rtrim(key, replace(key, ':', ''))) - 1) FROM streams
WHERE id IN (SELECT stream_id FROM events WHERE type = 'user' AND json_extract(data, '$.context') <> '')
ON CONFLICT DO NOTHING;
-- A process of an older version may run another platform yet, and tells neither whose a turn is nor who was heard.
CREATE TRIGGER turns_of_older AFTER INSERT ON turns WHEN NEW.user_id = '' BEGIN
    UPDATE turns SET user_id = coalesce((SELECT user_id FROM inbox WHERE inbox.id = NEW.id), '') WHERE id = NEW.id;
END;
CREATE TRIGGER room_of_older AFTER INSERT ON room WHEN NEW.user_id = '' BEGIN
    INSERT INTO room_people (user_id, chat_key) VALUES ('', NEW.chat_key) ON CONFLICT DO NOTHING;
END;

CREATE TABLE schedules (                            -- what is to happen at a time: the truth, whatever a process has in mind
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL CHECK (kind IN ('reminder', 'prompt')),
    name       TEXT NOT NULL DEFAULT '',            -- of an operator's schedule: its key under `schedules:`
    platform   TEXT NOT NULL,                       -- whose process fires it
    user_id    TEXT NOT NULL,                       -- whose it is
    person     TEXT NOT NULL,                       -- JSON of the person
    chat       TEXT NOT NULL,                       -- JSON of the chat where it goes; '': the person's private one, wherever that is
    chat_key   TEXT NOT NULL,
    text       TEXT NOT NULL,
    work       INTEGER NOT NULL DEFAULT 0,          -- 1: the agent works on the text; 0: the text is said
    trigger    TEXT NOT NULL,                       -- JSON, see bot/triggers.py
    zone       TEXT NOT NULL,
    missed     TEXT NOT NULL DEFAULT 'run' CHECK (missed IN ('run', 'skip', 'notify')),
    grace      REAL NOT NULL DEFAULT 0,             -- seconds late that still count as in time
    state      TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),   -- what is over has no row
    problem    TEXT NOT NULL DEFAULT '',            -- why it is paused, or could not be said last time
    next_at    REAL NOT NULL,                       -- unix seconds
    last_at    REAL,                                -- when it was last fired, by the clock of then
    until      REAL,                                -- not after; NULL: for ever
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX schedules_due ON schedules (platform, next_at) WHERE state = 'active';
CREATE INDEX schedules_fired ON schedules (platform, last_at) WHERE state = 'active' AND last_at IS NOT NULL;
CREATE INDEX schedules_paused ON schedules (platform, id) WHERE state = 'paused';
CREATE INDEX schedules_user ON schedules (user_id);
CREATE INDEX schedules_chat ON schedules (chat_key);
CREATE INDEX schedules_resting ON schedules (chat_key) WHERE state = 'paused';
CREATE UNIQUE INDEX schedules_name ON schedules (name, platform, user_id) WHERE name <> '';
CREATE TABLE subscriptions (                        -- who gets an operator's schedule, and where
    name    TEXT NOT NULL,
    user_id TEXT NOT NULL,
    person  TEXT NOT NULL,                          -- JSON of the person
    chat    TEXT NOT NULL,                          -- JSON of the chat
    at      REAL NOT NULL,
    PRIMARY KEY (name, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE notices (                              -- what operators are to be told, until it is in the inbox
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    chat    TEXT NOT NULL,                          -- JSON of their private chat
    text    TEXT NOT NULL
) STRICT;

CREATE TABLE tool_calls (                           -- calls that changed something: running again, they change nothing
    key  TEXT PRIMARY KEY,
    said TEXT NOT NULL,                             -- nobody's words
    at   REAL NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE streams ADD COLUMN active_at REAL NOT NULL DEFAULT 0;  -- when something was last said in it
ALTER TABLE streams ADD COLUMN summary TEXT NOT NULL DEFAULT '';   -- owed: the model is to sum it up; done
UPDATE streams SET active_at = coalesce((SELECT max(at) FROM events WHERE events.stream_id = streams.id), opened_at)
WHERE closed_at IS NULL;
CREATE INDEX streams_idle ON streams (active_at) WHERE closed_at IS NULL;
CREATE INDEX streams_owed ON streams (id) WHERE summary = 'owed';

ALTER TABLE outbox ADD COLUMN file TEXT NOT NULL DEFAULT '';      -- path below data_dir of a file to be sent with the text
