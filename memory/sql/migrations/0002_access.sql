-- What adapters keep for themselves, how an update is answered privately, and buttons under messages.

CREATE TABLE adapter_state (
    adapter TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (adapter, name)
) STRICT, WITHOUT ROWID;

ALTER TABLE outbox ADD COLUMN via TEXT NOT NULL DEFAULT '';      -- how the adapter answers the update; '': openly
ALTER TABLE outbox ADD COLUMN buttons TEXT NOT NULL DEFAULT '';  -- JSON of the buttons below it
