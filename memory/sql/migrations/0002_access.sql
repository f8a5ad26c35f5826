-- What adapters keep for themselves, how an update is answered privately, and buttons under messages.

CREATE TABLE adapter_state (
    adapter TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (adapter, name)
) STRICT, WITHOUT ROWID;

ALTER TABLE outbox ADD COLUMN via TEXT NOT NULL DEFAULT '';      -- how the adapter answers the update; '': openly
ALTER TABLE outbox ADD COLUMN buttons TEXT NOT NULL DEFAULT '';  -- JSON of the buttons below it

CREATE TABLE access (                               -- what operators decided about people
    user_id TEXT PRIMARY KEY,
    state   TEXT NOT NULL CHECK (state IN ('approved', 'denied')),
    name    TEXT NOT NULL,                          -- what they called themselves then
    by      TEXT NOT NULL,                          -- the operator's user id, or 'command line'
    at      REAL NOT NULL,
    welcome TEXT NOT NULL                           -- JSON of the chat where they are to be told; '': they were
) STRICT, WITHOUT ROWID;
CREATE TABLE pairing (                              -- strangers who were given a code
    code       TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    chat_key   TEXT NOT NULL,                       -- JSON of platform and chat id, threads left out
    chat       TEXT NOT NULL,                       -- JSON of the chat
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pairing_chat ON pairing (chat_key);

-- Dead letters: inbox rows that are 'quarantined' (unreadable; with a turn_id: their turn was given up), outbox rows that are 'dead'.
ALTER TABLE inbox ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;   -- how often the operator asked for another try
ALTER TABLE inbox ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;     -- 1: they did, and no process has taken it up yet
ALTER TABLE outbox ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
CREATE INDEX inbox_dead ON inbox (id) WHERE state = 'quarantined';
CREATE INDEX outbox_dead ON outbox (id) WHERE state = 'dead';

ALTER TABLE adapter_status ADD COLUMN until REAL;  -- when `up` is to be doubted, unless the platform is heard of; NULL: never

-- What `limits` may be held against. A call in flight is a `usage` row at its upper estimate; whatever cuts it off, it stays counted.
ALTER TABLE usage ADD COLUMN state TEXT NOT NULL DEFAULT 'settled' CHECK (state IN ('settled', 'reserved'));
ALTER TABLE usage ADD COLUMN person_spend INTEGER NOT NULL DEFAULT 0;  -- the rows of `spend` that it is booked on
ALTER TABLE usage ADD COLUMN chat_spend INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN total_spend INTEGER NOT NULL DEFAULT 0;
CREATE TABLE spend (                                -- a day of a person, of a chat, or of everybody
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    scope       TEXT NOT NULL,                      -- person:<user id>, chat:<platform>:<chat id>, all
    day         TEXT NOT NULL,                      -- YYYY-MM-DD in `zone`
    zone        TEXT NOT NULL,                      -- the one that was last booked in
    turns       INTEGER NOT NULL DEFAULT 0,
    tokens      INTEGER NOT NULL DEFAULT 0,         -- of settled calls
    nano        INTEGER NOT NULL DEFAULT 0,         -- likewise, in billionths of a USD: sums of it are exact
    held_tokens INTEGER NOT NULL DEFAULT 0,         -- of calls that are not settled
    held_nano   INTEGER NOT NULL DEFAULT 0,
    warned      TEXT NOT NULL DEFAULT '',           -- the limits whose warning was given, with spaces between
    UNIQUE (scope, day)
) STRICT;
CREATE TABLE pace (                                 -- what a person began in the last minute
    user_id TEXT NOT NULL,
    at      REAL NOT NULL,
    count   INTEGER NOT NULL,
    told    INTEGER NOT NULL DEFAULT 0,             -- 1: they were told that it is too much
    PRIMARY KEY (user_id, at)
) STRICT, WITHOUT ROWID;
