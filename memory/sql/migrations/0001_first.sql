-- The durable edges (inbox, outbox), the streams between them, and what is known of people.
-- Times are unix seconds. JSON columns are named in the comments beside them.

CREATE TABLE inbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- also the order of arrival
    source      TEXT NOT NULL,                      -- where `key` is unique: telegram:<bot id>, console:<user>
    key         TEXT NOT NULL,                      -- the platform's own id of the update
    platform    TEXT NOT NULL,
    lane        TEXT NOT NULL DEFAULT '',           -- the stream key: rows of one lane are worked on in order
    user_id     TEXT NOT NULL DEFAULT '',
    message_id  TEXT NOT NULL DEFAULT '',
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'refused', 'ignored', 'quarantined')),
    command     INTEGER NOT NULL DEFAULT 0,         -- commands do not wait for turns
    body        TEXT,                               -- JSON of the update while it is owed; raw JSON when quarantined
    problem     TEXT NOT NULL DEFAULT '',
    turn_id     INTEGER,                            -- the turn that took it up
    received_at REAL NOT NULL,
    due_at      REAL NOT NULL DEFAULT 0,            -- not before; 0: at once
    UNIQUE (source, key)
) STRICT;
CREATE INDEX inbox_owed ON inbox (platform, id) WHERE state IN ('waiting', 'running');
CREATE INDEX inbox_platform ON inbox (platform, id);

CREATE TABLE streams (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    key          TEXT NOT NULL,
    opened_at    REAL NOT NULL,
    closed_at    REAL,
    close_reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX streams_open ON streams (key) WHERE closed_at IS NULL;

CREATE TABLE events (
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    seq       INTEGER NOT NULL,
    turn_id   INTEGER NOT NULL,
    type      TEXT NOT NULL,
    data      TEXT NOT NULL,                        -- JSON, see bot/events.py
    at        REAL NOT NULL,
    PRIMARY KEY (stream_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE turns (
    id         INTEGER PRIMARY KEY,                 -- the id of the inbox row that began it
    stream_id  INTEGER NOT NULL DEFAULT 0,          -- 0: a command or a refusal, outside every stream
    attempt    INTEGER NOT NULL,                    -- the fence: a writer with another number changes nothing
    state      TEXT NOT NULL CHECK (state IN ('running', 'done')),
    outcome    TEXT NOT NULL DEFAULT '',            -- answered, stopped, failed:<kind>, command:<name>
    started_at REAL NOT NULL,
    ended_at   REAL
) STRICT;

CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    turn_id    INTEGER NOT NULL,
    part       INTEGER NOT NULL,
    platform   TEXT NOT NULL,
    chat       TEXT NOT NULL,                       -- JSON of the chat
    reply_to   TEXT NOT NULL DEFAULT '',
    stub       INTEGER NOT NULL DEFAULT 0,          -- 1: begins as a placeholder that is edited
    text       TEXT,                                -- NULL until the turn is complete
    state      TEXT NOT NULL CHECK (state IN ('open', 'ready', 'sent', 'dead')),
    message_id TEXT NOT NULL DEFAULT '',
    problem    TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL,
    sent_at    REAL,
    UNIQUE (turn_id, part)
) STRICT;
CREATE INDEX outbox_owed ON outbox (platform, id) WHERE state IN ('open', 'ready');

CREATE TABLE transcript_pending (                   -- turns that are complete and not yet in their file
    turn_id   INTEGER PRIMARY KEY,
    user_id   TEXT NOT NULL,
    stream_id INTEGER NOT NULL,
    record    TEXT NOT NULL                         -- JSON, see memory/journal.py
) STRICT;
CREATE TABLE transcript_sections (
    user_id   TEXT NOT NULL,
    date      TEXT NOT NULL,
    stream_id INTEGER NOT NULL,
    heading   TEXT NOT NULL,
    turns     INTEGER NOT NULL,
    PRIMARY KEY (user_id, date, stream_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE transcript_files (
    user_id TEXT NOT NULL,
    date    TEXT NOT NULL,
    size    INTEGER NOT NULL,                       -- bytes after our last write
    PRIMARY KEY (user_id, date)
) STRICT, WITHOUT ROWID;

CREATE TABLE people (
    user_id    TEXT PRIMARY KEY,
    timezone   TEXT NOT NULL DEFAULT '',
    refused_at REAL NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
    id       INTEGER PRIMARY KEY,
    at       REAL NOT NULL,
    turn_id  INTEGER NOT NULL,
    user_id  TEXT NOT NULL,
    chat_key TEXT NOT NULL,
    model    TEXT NOT NULL,
    input    INTEGER NOT NULL,
    cached   INTEGER NOT NULL,
    output   INTEGER NOT NULL,
    usd      REAL NOT NULL
) STRICT;
CREATE INDEX usage_user ON usage (user_id, at);

CREATE TABLE room (                                 -- the last messages of a group, for groups.window
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_key   TEXT NOT NULL,
    message_id TEXT NOT NULL,
    speaker    TEXT NOT NULL,
    text       TEXT NOT NULL,
    at         REAL NOT NULL
) STRICT;
CREATE INDEX room_chat ON room (chat_key, id);
CREATE TABLE room_seen (
    stream_id INTEGER PRIMARY KEY,
    room_id   INTEGER NOT NULL                      -- the last room message that the stream's turns have seen
) STRICT;

CREATE TABLE chat_aliases (
    platform TEXT NOT NULL,
    old_id   TEXT NOT NULL,
    new_id   TEXT NOT NULL,
    PRIMARY KEY (platform, old_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE adapter_status (
    name   TEXT PRIMARY KEY,
    state  TEXT NOT NULL,                           -- starting, up, down, stopped
    detail TEXT NOT NULL,
    since  REAL NOT NULL
) STRICT, WITHOUT ROWID;
