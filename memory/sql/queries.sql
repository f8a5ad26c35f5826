-- Every query, under its name. A line `-- name: x  what it is for` begins one; the loader is in __init__.py.

-- name: inbox_add  A row of what a platform sent; nothing happens if it was sent before.
INSERT INTO inbox (source, key, platform, lane, user_id, message_id, state, command, body, problem, received_at, due_at)
VALUES (:source, :key, :platform, :lane, :user_id, :message_id, :state, :command, :body, :problem, :received_at, :due_at)
ON CONFLICT (source, key) DO NOTHING
RETURNING id;

-- name: inbox_owed  What a platform's people are still owed, in order of arrival.
SELECT id, lane, command, body, turn_id, due_at FROM inbox
WHERE platform = :platform AND state IN ('waiting', 'running') AND id > :after ORDER BY id;

-- name: inbox_take  A turn takes a row up.
UPDATE inbox SET state = 'running', turn_id = :turn_id WHERE id = :id AND state IN ('waiting', 'running');

-- name: inbox_rename  A chat has another id now: what is owed there waits in the new chat's lanes.
UPDATE inbox SET lane = :new || substr(lane, length(:old) + 1)
WHERE platform = :platform AND state IN ('waiting', 'running') AND substr(lane, 1, length(:old)) = :old;

-- name: inbox_close  A turn is over: its rows are done and their words go.
UPDATE inbox SET state = 'done', body = NULL WHERE turn_id = :turn_id;

-- name: inbox_drop  A waiting row that will not be worked on.
UPDATE inbox SET state = 'done', body = NULL, problem = :problem WHERE id = :id AND state IN ('waiting', 'running');

-- name: inbox_replace  An edited message whose turn has not begun.
UPDATE inbox SET body = :body WHERE id = :id AND state = 'waiting' RETURNING id;

-- name: inbox_prune  Rows older than every platform's repetition; the rowid stays unique (AUTOINCREMENT).
DELETE FROM inbox WHERE received_at < :before AND state IN ('done', 'refused', 'ignored');

-- name: inbox_counts  How much is owed and what could not be read, per platform.
SELECT platform,
       sum(state IN ('waiting', 'running')) AS owed,
       sum(state = 'quarantined') AS quarantined,
       min(CASE WHEN state IN ('waiting', 'running') THEN received_at END) AS oldest
FROM inbox WHERE state IN ('waiting', 'running', 'quarantined') GROUP BY platform;

-- name: inbox_last  When something last came from a platform.
SELECT received_at FROM inbox WHERE platform = :platform ORDER BY id DESC LIMIT 1;

-- name: turn_begin  Claim a turn: the attempt number grows each time, and fences off the one before.
INSERT INTO turns (id, stream_id, attempt, state, started_at) VALUES (:id, :stream_id, 1, 'running', :at)
ON CONFLICT (id) DO UPDATE SET attempt = attempt + 1 WHERE state = 'running'
RETURNING attempt, stream_id;

-- name: turn_owner  Does this attempt still own the turn?
SELECT 1 FROM turns WHERE id = :id AND attempt = :attempt AND state = 'running';

-- name: turn_end  The turn is over.
UPDATE turns SET state = 'done', outcome = :outcome, ended_at = :at WHERE id = :id;

-- name: turn_counts  How many turns there were since a time, by outcome.
SELECT outcome, count(*) AS turns FROM turns WHERE started_at >= :since GROUP BY outcome;

-- name: stream_open  The open stream of a key, begun if there is none.
INSERT INTO streams (key, opened_at) VALUES (:key, :at)
ON CONFLICT (key) WHERE closed_at IS NULL DO UPDATE SET key = excluded.key
RETURNING id, opened_at;

-- name: stream_current  The open stream of a key, if there is one.
SELECT id FROM streams WHERE key = :key AND closed_at IS NULL;

-- name: stream_close  The conversation ends.
UPDATE streams SET closed_at = :at, close_reason = :reason WHERE key = :key AND closed_at IS NULL RETURNING id;

-- name: stream_rename  A chat has another id now.
UPDATE streams SET key = :new WHERE id = :id;

-- name: streams_of_chat  The open streams whose key begins with a chat's key.
SELECT id, key FROM streams WHERE closed_at IS NULL AND substr(key, 1, length(:prefix)) = :prefix;

-- name: event_add  One event at the end of a stream's log.
INSERT INTO events (stream_id, seq, turn_id, type, data, at) VALUES (:stream_id, :seq, :turn_id, :type, :data, :at);

-- name: event_next  The sequence number of a stream's next event.
SELECT coalesce(max(seq), -1) + 1 AS seq FROM events WHERE stream_id = :stream_id;

-- name: events_since_summary  What a model's context is made of: the last summary, and what it does not stand for.
SELECT seq, turn_id, type, data FROM events
WHERE stream_id = :stream_id
  AND seq >= coalesce((SELECT json_extract(data, '$.upto') FROM events
                       WHERE stream_id = :stream_id AND type = 'summary' ORDER BY seq DESC LIMIT 1), 0)
ORDER BY seq;

-- name: outbox_add  A part of a reply.
INSERT INTO outbox (turn_id, part, platform, chat, reply_to, stub, text, state, created_at, via, buttons)
VALUES (:turn_id, :part, :platform, :chat, :reply_to, :stub, :text, :state, :at, :via, :buttons)
ON CONFLICT (turn_id, part) DO UPDATE SET text = excluded.text, state = excluded.state, buttons = excluded.buttons
WHERE outbox.state = 'open'
RETURNING id, message_id;

-- name: outbox_of_turn  The parts of a turn.
SELECT * FROM outbox WHERE turn_id = :turn_id ORDER BY part;

-- name: outbox_owed  Complete parts that are not delivered.
SELECT * FROM outbox WHERE platform = :platform AND state = 'ready' ORDER BY id;

-- name: outbox_posted  The platform's id of the message.
UPDATE outbox SET message_id = :message_id WHERE id = :id;

-- name: outbox_sent  Delivered: the words go.
UPDATE outbox SET state = 'sent', text = NULL, via = '', message_id = :message_id, sent_at = :at WHERE id = :id;

-- name: outbox_dead  It can not be delivered.
UPDATE outbox SET state = 'dead', problem = :problem WHERE id = :id;

-- name: outbox_counts  How much is to be delivered, per platform.
SELECT platform, sum(state = 'ready') AS owed, sum(state = 'dead') AS dead,
       min(CASE WHEN state = 'ready' THEN created_at END) AS oldest
FROM outbox WHERE state IN ('ready', 'dead') GROUP BY platform;

-- name: outbox_prune  Delivered parts need not be known for ever.
DELETE FROM outbox WHERE state = 'sent' AND created_at < :before;

-- name: pending_add  A complete turn that its transcript does not have yet.
INSERT INTO transcript_pending (turn_id, user_id, stream_id, record) VALUES (:turn_id, :user_id, :stream_id, :record);

-- name: pending_all  Turns to be written, in order, of people whose id begins so.
SELECT * FROM transcript_pending WHERE substr(user_id, 1, length(:prefix)) = :prefix ORDER BY turn_id;

-- name: pending_done  The turn stands in its file.
DELETE FROM transcript_pending WHERE turn_id = :turn_id;

-- name: section_get  What we know of a conversation's section in a day's file.
SELECT heading, turns FROM transcript_sections WHERE user_id = :user_id AND date = :date AND stream_id = :stream_id;

-- name: section_headings  All headings of a day's file that we wrote.
SELECT heading FROM transcript_sections WHERE user_id = :user_id AND date = :date;

-- name: section_set  After a turn was written.
INSERT INTO transcript_sections (user_id, date, stream_id, heading, turns) VALUES (:user_id, :date, :stream_id, :heading, :turns)
ON CONFLICT DO UPDATE SET heading = excluded.heading, turns = excluded.turns;

-- name: file_get  The file's size after our last write.
SELECT size FROM transcript_files WHERE user_id = :user_id AND date = :date;

-- name: file_set  After a turn was written.
INSERT INTO transcript_files (user_id, date, size) VALUES (:user_id, :date, :size)
ON CONFLICT DO UPDATE SET size = excluded.size;

-- name: person_get  What is kept of a person.
SELECT timezone, refused_at FROM people WHERE user_id = :user_id;

-- name: person_timezone  A person sets their zone.
INSERT INTO people (user_id, timezone) VALUES (:user_id, :timezone)
ON CONFLICT DO UPDATE SET timezone = excluded.timezone;

-- name: person_refused  When a stranger was last told so.
INSERT INTO people (user_id, refused_at) VALUES (:user_id, :at)
ON CONFLICT DO UPDATE SET refused_at = excluded.refused_at;

-- name: usage_add  One model call.
INSERT INTO usage (at, turn_id, user_id, chat_key, model, input, cached, output, usd)
VALUES (:at, :turn_id, :user_id, :chat_key, :model, :input, :cached, :output, :usd);

-- name: usage_of_person  A person's calls since a time.
SELECT count(*) AS calls, coalesce(sum(input), 0) AS input, coalesce(sum(cached), 0) AS cached,
       coalesce(sum(output), 0) AS output, coalesce(sum(usd), 0.0) AS usd
FROM usage WHERE user_id = :user_id AND at >= :since;

-- name: usage_total  Everybody's calls since a time, by model.
SELECT model, count(*) AS calls, sum(input) AS input, sum(cached) AS cached, sum(output) AS output, sum(usd) AS usd
FROM usage WHERE at >= :since GROUP BY model ORDER BY model;

-- name: room_add  A message of a group.
INSERT INTO room (chat_key, message_id, speaker, text, at) VALUES (:chat_key, :message_id, :speaker, :text, :at);

-- name: room_trim  Keep the last ones only.
DELETE FROM room WHERE chat_key = :chat_key
  AND id <= (SELECT id FROM room WHERE chat_key = :chat_key ORDER BY id DESC LIMIT 1 OFFSET :keep);

-- name: room_window  The room's last messages that a stream has not seen.
SELECT id, message_id, speaker, text FROM room
WHERE chat_key = :chat_key AND id > coalesce((SELECT room_id FROM room_seen WHERE stream_id = :stream_id), 0)
ORDER BY id DESC LIMIT :count;

-- name: room_see  A stream has seen the room up to here.
INSERT INTO room_seen (stream_id, room_id)
VALUES (:stream_id, coalesce((SELECT max(id) FROM room WHERE chat_key = :chat_key), 0))
ON CONFLICT DO UPDATE SET room_id = excluded.room_id;

-- name: room_rename  A chat has another id now.
UPDATE room SET chat_key = :new WHERE chat_key = :old;

-- name: alias_add  A chat has another id now.
INSERT INTO chat_aliases (platform, old_id, new_id) VALUES (:platform, :old_id, :new_id)
ON CONFLICT DO UPDATE SET new_id = excluded.new_id;

-- name: aliases_of  Every id that a chat had before.
SELECT old_id FROM chat_aliases WHERE platform = :platform AND new_id = :new_id;

-- name: state_get  What an adapter keeps under names that begin so.
SELECT name, value FROM adapter_state WHERE adapter = :adapter AND substr(name, 1, length(:prefix)) = :prefix;

-- name: state_set  One text that an adapter keeps.
INSERT INTO adapter_state (adapter, name, value) VALUES (:adapter, :name, :value)
ON CONFLICT DO UPDATE SET value = excluded.value;

-- name: state_drop  An adapter forgets a name.
DELETE FROM adapter_state WHERE adapter = :adapter AND name = :name;

-- name: status_set  How an adapter is.
INSERT INTO adapter_status (name, state, detail, since) VALUES (:name, :state, :detail, :at)
ON CONFLICT DO UPDATE SET state = excluded.state, detail = excluded.detail, since = excluded.since;

-- name: status_all  How all adapters are.
SELECT name, state, detail, since FROM adapter_status ORDER BY name;
