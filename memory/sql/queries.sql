-- Every query, under its name. A line `-- name: x  what it is for` begins one; the loader is in __init__.py.

-- name: inbox_add  A row of what a platform sent; nothing happens if it was sent before.
INSERT INTO inbox (source, key, platform, lane, user_id, message_id, state, command, body, problem, received_at, due_at)
VALUES (:source, :key, :platform, :lane, :user_id, :message_id, :state, :command, :body, :problem, :received_at, :due_at)
ON CONFLICT (source, key) DO NOTHING
RETURNING id;

-- name: inbox_owed  What a platform's people are still owed, in order of arrival.
SELECT id, lane, command, body, turn_id, due_at FROM inbox
WHERE platform = :platform AND state IN ('waiting', 'running') AND id > :after ORDER BY id;

-- name: inbox_undelivered  The reply to the last of a source's keys that begin so, if that has waited for its delivery for long.
SELECT 1 FROM outbox WHERE state = 'ready' AND created_at <= :since AND turn_id = (
  SELECT id FROM inbox WHERE source = :source AND key >= :first AND key < :beyond ORDER BY key DESC LIMIT 1);

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

-- name: people_prune  Of people of whom nothing is kept but that they were refused.
DELETE FROM people WHERE timezone = '' AND quiet = '' AND refused_at < :before;

-- name: turns_prune  Of commands and refusals that are over: nothing points to them any more.
DELETE FROM turns WHERE stream_id = 0 AND state = 'done' AND ended_at < :before
  AND id NOT IN (SELECT turn_id FROM inbox WHERE turn_id IS NOT NULL) AND id NOT IN (SELECT turn_id FROM outbox);

-- name: inbox_counts  How much is owed and what could not be read, per platform.
SELECT platform, sum(owed) AS owed, sum(NOT owed) AS quarantined, min(CASE WHEN owed THEN at END) AS oldest
FROM (SELECT platform, 1 AS owed, max(received_at, due_at) AS at FROM inbox WHERE state IN ('waiting', 'running')
      UNION ALL SELECT platform, 0, 0 FROM inbox WHERE state = 'quarantined')
GROUP BY platform;

-- name: inbox_last  When something last came from a platform.
SELECT received_at FROM inbox WHERE platform = :platform ORDER BY id DESC LIMIT 1;

-- name: turn_begin  Claim a turn whose row is owed: the attempt number grows each time, and fences off the one before.
INSERT INTO turns (id, stream_id, user_id, attempt, state, started_at) SELECT :id, :stream_id, :user_id, 1, 'running', :at
WHERE EXISTS (SELECT 1 FROM inbox WHERE id = :id AND state IN ('waiting', 'running'))
ON CONFLICT (id) DO UPDATE SET attempt = attempt + 1 WHERE state = 'running'
RETURNING attempt, stream_id;

-- name: turn_owner  Does this attempt still own the turn?
SELECT 1 FROM turns WHERE id = :id AND attempt = :attempt AND state = 'running';

-- name: turn_user  Whose turn it is.
SELECT user_id FROM turns WHERE id = :id;

-- name: turn_end  The turn is over.
UPDATE turns SET state = 'done', outcome = :outcome, ended_at = :at WHERE id = :id;

-- name: turn_counts  How many turns there were since a time, by outcome.
SELECT outcome, count(*) AS turns FROM turns WHERE started_at >= :since GROUP BY outcome;

-- name: stream_open  The open stream of a key, begun if there is none.
INSERT INTO streams (key, opened_at, active_at) VALUES (:key, :at, :at)
ON CONFLICT (key) WHERE closed_at IS NULL DO UPDATE SET active_at = max(active_at, excluded.active_at)
RETURNING id, opened_at;

-- name: stream_current  The open stream of a key, if there is one.
SELECT id FROM streams WHERE key = :key AND closed_at IS NULL;

-- name: stream_close  The conversation ends.
UPDATE streams SET closed_at = :at, close_reason = :reason, summary = :summary WHERE id = :id AND closed_at IS NULL;

-- name: stream_active  Something was said in it.
UPDATE streams SET active_at = :at WHERE id = :id;

-- name: stream_oldest  Since when the most silent of the open conversations is silent.
SELECT min(active_at) AS active_at FROM streams WHERE closed_at IS NULL;

-- name: streams_silent  Open conversations in which nothing was said since a time, the most silent first.
SELECT id, key, active_at FROM streams
WHERE closed_at IS NULL AND active_at < :since AND (active_at, id) > (:after, :last) ORDER BY active_at, id LIMIT :count;

-- name: stream_silent  Whether it is still as silent, no turn runs in it, and no message waits for one.
SELECT 1 FROM streams WHERE id = :id AND closed_at IS NULL AND active_at = :active_at
  AND NOT EXISTS (SELECT 1 FROM turns WHERE stream_id = streams.id AND state = 'running')
  AND NOT EXISTS (SELECT 1 FROM inbox WHERE lane = streams.key AND state IN ('waiting', 'running') AND NOT command);

-- name: streams_owed  Conversations that have ended and are to be summed up.
SELECT id, key, opened_at FROM streams WHERE summary = 'owed' ORDER BY id LIMIT :count;

-- name: stream_summed_up  It was summed up, or needs no summary.
UPDATE streams SET summary = 'done' WHERE id = :id;

-- name: stream_people  Who has said something in it.
SELECT DISTINCT turns.user_id FROM events JOIN turns ON turns.id = events.turn_id
WHERE events.stream_id = :id AND events.type = 'user';

-- name: stream_rename  A chat has another id now.
UPDATE streams SET key = :new WHERE id = :id;

-- name: streams_of_chat  The open streams whose key begins with a chat's key.
SELECT id, key FROM streams WHERE closed_at IS NULL AND substr(key, 1, length(:prefix)) = :prefix;

-- name: said_before  What a person wrote themselves in the conversation of a turn, newest first; with nothing that we entered.
SELECT events.data FROM events
JOIN turns ON turns.id = events.turn_id
JOIN inbox ON inbox.id = events.turn_id
WHERE events.stream_id = (SELECT stream_id FROM turns WHERE id = :turn_id) AND events.type = 'user'
  AND turns.user_id = :user_id AND inbox.source <> :own AND NOT coalesce(json_extract(events.data, '$.relayed'), 0)
ORDER BY events.seq DESC LIMIT :count;

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
INSERT INTO outbox (turn_id, part, platform, chat, reply_to, stub, text, state, created_at, via, buttons, file)
VALUES (:turn_id, :part, :platform, :chat, :reply_to, :stub, :text, :state, :at, :via, :buttons, :file)
ON CONFLICT (turn_id, part) DO UPDATE SET text = excluded.text, state = excluded.state, buttons = excluded.buttons
WHERE outbox.state = 'open'
RETURNING id, message_id;

-- name: outbox_of_turn  The parts of a turn.
SELECT * FROM outbox WHERE turn_id = :turn_id ORDER BY part;

-- name: outbox_owed  Complete parts that are not delivered, and whether nobody waits for them.
SELECT *, EXISTS (SELECT 1 FROM inbox WHERE inbox.id = outbox.turn_id AND inbox.source = :own) AS unasked
FROM outbox WHERE platform = :platform AND state = 'ready' ORDER BY id;

-- name: outbox_files  The files that are to be sent with parts of replies.
SELECT file FROM outbox WHERE platform = :platform AND state = 'ready' AND file <> '';

-- name: outbox_posted  The platform's id of the message.
UPDATE outbox SET message_id = :message_id WHERE id = :id;

-- name: outbox_sent  Delivered: the words go.
UPDATE outbox SET state = 'sent', text = NULL, via = '', file = '', message_id = :message_id, sent_at = :at WHERE id = :id;

-- name: outbox_dead  It can not be delivered.
UPDATE outbox SET state = 'dead', problem = :problem WHERE id = :id;

-- name: outbox_counts  How much is to be delivered and what can not be, per platform.
SELECT platform, sum(owed) AS owed, sum(NOT owed) AS dead, min(CASE WHEN owed THEN created_at END) AS oldest
FROM (SELECT platform, 1 AS owed, created_at FROM outbox WHERE state IN ('open', 'ready') AND state = 'ready'
      UNION ALL SELECT platform, 0, 0 FROM outbox WHERE state = 'dead')
GROUP BY platform;

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

-- name: section_last  The last of a conversation's sections in a person's files.
SELECT date, heading FROM transcript_sections WHERE user_id = :user_id AND stream_id = :stream_id ORDER BY date DESC LIMIT 1;

-- name: file_grown  Something was put into the middle of a file.
UPDATE transcript_files SET size = size + :bytes WHERE user_id = :user_id AND date = :date;

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

-- name: person_quiet  A person sets their quiet hours, or takes them back.
INSERT INTO people (user_id, quiet) VALUES (:user_id, :quiet)
ON CONFLICT DO UPDATE SET quiet = excluded.quiet;

-- name: person_refused  When a stranger was last told so.
INSERT INTO people (user_id, refused_at) VALUES (:user_id, :at)
ON CONFLICT DO UPDATE SET refused_at = excluded.refused_at;

-- name: links_of  The other user ids of a person, in the order of linking.
SELECT user_id FROM links WHERE person = (SELECT person FROM links WHERE user_id = :user_id) AND user_id <> :user_id
ORDER BY at, user_id;

-- name: links_all  Everybody who is linked.
SELECT user_id, person FROM links;

-- name: links_get  What stands for a person that is linked.
SELECT person FROM links WHERE user_id = :user_id;

-- name: links_set  A user id belongs to a person from now on.
INSERT INTO links (user_id, person, at) VALUES (:user_id, :person, :at) ON CONFLICT DO UPDATE SET person = excluded.person;

-- name: links_drop  It stands for itself again.
DELETE FROM links WHERE user_id = :user_id;

-- name: link_code_add  Somebody gets a code, in the place of an older one.
INSERT INTO link_codes (code, user_id, name, language, chat, expires_at)
VALUES (:code, :user_id, :name, :language, :chat, :expires_at)
ON CONFLICT (user_id) DO UPDATE SET code = excluded.code, name = excluded.name, language = excluded.language,
    chat = excluded.chat, shown_to = '[]', expires_at = excluded.expires_at;

-- name: link_code_get  Whose code it is, while it is good.
SELECT * FROM link_codes WHERE code = :code AND expires_at > :at;

-- name: link_code_show  Somebody was told whose it is.
UPDATE link_codes SET shown_to = json_insert(shown_to, '$[#]', :user_id) WHERE code = :code;

-- name: link_code_drop  It is used, or others have seen it.
DELETE FROM link_codes WHERE code = :code;

-- name: link_codes_expire  Codes that are over.
DELETE FROM link_codes WHERE expires_at <= :at;

-- name: link_try_add  A code was wrong.
INSERT INTO link_tries (user_id, at) VALUES (:user_id, :at);

-- name: link_tries_count  How many were wrong since a time, of one user id and in all.
SELECT count(*) AS total, coalesce(sum(user_id = :user_id), 0) AS own FROM link_tries WHERE at > :since;

-- name: link_tries_prune  Those of long ago, and those that a wrong clock has left in the future.
DELETE FROM link_tries WHERE at <= :before OR at > :after;

-- name: link_notice_add  Somebody is to be told.
INSERT INTO link_notices (user_id, language, chat, others, linked, at)
VALUES (:user_id, :language, :chat, :others, :linked, :at);

-- name: link_notices  Who is to be told, in order.
SELECT * FROM link_notices ORDER BY id;

-- name: link_notice_drop  It is in the inbox, which sees to it.
DELETE FROM link_notices WHERE id = :id;

-- name: link_notices_prune  What nobody was there to tell.
DELETE FROM link_notices WHERE at < :before;

-- name: home_get  A person's private chat.
SELECT chat FROM homes WHERE user_id = :user_id;

-- name: home_set  They wrote to us there.
INSERT INTO homes (user_id, chat) VALUES (:user_id, :chat)
ON CONFLICT DO UPDATE SET chat = excluded.chat WHERE chat <> excluded.chat;

-- name: data_version  A number that changes when another process has committed.
SELECT data_version FROM pragma_data_version;

-- name: access_set  An operator decides about somebody.
INSERT INTO access (user_id, state, name, by, at, welcome) VALUES (:user_id, :state, :name, :by, :at, :welcome)
ON CONFLICT DO UPDATE SET state = excluded.state, name = excluded.name, by = excluded.by, at = excluded.at,
    welcome = excluded.welcome;

-- name: access_get  What was decided about somebody.
SELECT state FROM access WHERE user_id = :user_id;

-- name: access_drop  The decision is taken back.
DELETE FROM access WHERE user_id = :user_id RETURNING user_id;

-- name: access_all  Every decision.
SELECT user_id, state, name, by, at FROM access ORDER BY at DESC, user_id;

-- name: access_unwelcomed  Who was let in and does not know it.
SELECT user_id, name, at, welcome FROM access WHERE welcome <> '';

-- name: access_welcomed  They were told.
UPDATE access SET welcome = '' WHERE user_id = :user_id;

-- name: pairing_add  A stranger gets a code.
INSERT INTO pairing (code, user_id, name, chat_key, chat, expires_at)
VALUES (:code, :user_id, :name, :chat_key, :chat, :expires_at);

-- name: pairing_get  Who was given a code.
SELECT * FROM pairing WHERE code = :code AND expires_at > :at;

-- name: pairing_all  Who waits to be let in.
SELECT * FROM pairing WHERE expires_at > :at ORDER BY expires_at;

-- name: pairing_counts  How many wait, in a chat and in all.
SELECT count(*) AS total, coalesce(sum(chat_key = :chat_key), 0) AS here FROM pairing;

-- name: pairing_drop  Somebody's code is used, or replaced.
DELETE FROM pairing WHERE user_id = :user_id;

-- name: pairing_expire  Codes that are over.
DELETE FROM pairing WHERE expires_at <= :at;

-- name: usage_of_person  A person's calls since a time.
SELECT count(*) AS calls,
       coalesce(sum(input) FILTER (WHERE state = 'settled'), 0) AS input,
       coalesce(sum(cached) FILTER (WHERE state = 'settled'), 0) AS cached,
       coalesce(sum(output) FILTER (WHERE state = 'settled'), 0) AS output,
       coalesce(sum(usd) FILTER (WHERE state = 'settled'), 0.0) AS usd,
       count(*) FILTER (WHERE state = 'reserved') AS unsettled,
       coalesce(sum(usd) FILTER (WHERE state = 'reserved'), 0.0) AS unsettled_usd
FROM usage WHERE user_id = :user_id AND at >= :since;

-- name: usage_total  Everybody's calls since a time, by model.
SELECT model, count(*) AS calls,
       coalesce(sum(input) FILTER (WHERE state = 'settled'), 0) AS input,
       coalesce(sum(cached) FILTER (WHERE state = 'settled'), 0) AS cached,
       coalesce(sum(output) FILTER (WHERE state = 'settled'), 0) AS output,
       coalesce(sum(usd) FILTER (WHERE state = 'settled'), 0.0) AS usd,
       count(*) FILTER (WHERE state = 'reserved') AS unsettled
FROM usage WHERE at >= :since GROUP BY model ORDER BY model;

-- name: room_add  A message of a group.
INSERT INTO room (chat_key, message_id, user_id, speaker, text, at)
VALUES (:chat_key, :message_id, :user_id, :speaker, :text, :at);

-- name: room_person  Somebody was heard in a group.
INSERT INTO room_people (user_id, chat_key) VALUES (:user_id, :chat_key) ON CONFLICT DO NOTHING;

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

-- name: room_people_rename  Who was heard there; conversations that have ended keep the old id.
INSERT INTO room_people (user_id, chat_key) SELECT user_id, :new FROM room_people WHERE chat_key = :old
ON CONFLICT DO NOTHING;

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

-- name: status_set  How an adapter is, and until when that may be believed.
INSERT INTO adapter_status (name, state, detail, since, until) VALUES (:name, :state, :detail, :at, :until)
ON CONFLICT DO UPDATE SET state = excluded.state, detail = excluded.detail, until = excluded.until,
                          since = iif(state = excluded.state AND detail = excluded.detail, since, excluded.since);

-- name: status_all  How all adapters are.
SELECT name, state, detail, since, until FROM adapter_status WHERE name <> '' ORDER BY name;

-- name: probe_set  Whether the database can be written to; the row without a name is there for this alone.
INSERT INTO adapter_status (name, state, detail, since) VALUES ('', '', '', :at)
ON CONFLICT DO UPDATE SET since = excluded.since;

-- name: probe_get  What the last probe wrote.
SELECT since FROM adapter_status WHERE name = '';

-- name: dead_updates  What could not be read, and the messages of turns that were given up (those have a turn_id).
SELECT inbox.id, inbox.turn_id, inbox.source, inbox.key, inbox.platform, inbox.user_id, inbox.body, inbox.retries, inbox.asked,
       coalesce(nullif(inbox.problem, ''), turns.outcome, '') AS problem,
       coalesce(turns.attempt, inbox.retries + 1) AS attempts,
       coalesce(turns.ended_at, inbox.received_at) AS at
FROM inbox LEFT JOIN turns ON turns.id = inbox.turn_id
WHERE inbox.state = 'quarantined' ORDER BY inbox.id;

-- name: dead_replies  What could not be delivered.
SELECT outbox.id, outbox.turn_id, outbox.platform, outbox.chat, outbox.text, outbox.problem, outbox.asked,
       outbox.retries + 1 AS attempts, outbox.created_at AS at,
       coalesce(inbox.user_id, '') AS user_id
FROM outbox LEFT JOIN inbox ON inbox.id = outbox.turn_id
WHERE outbox.state = 'dead' ORDER BY outbox.id;

-- name: dead_update_ask  The operator wants an unreadable update to be tried again.
UPDATE inbox SET asked = 1, retries = retries + 1 WHERE id = :id AND state = 'quarantined' AND turn_id IS NULL AND asked = 0;

-- name: dead_turn_ask  Likewise the messages of a turn.
UPDATE inbox SET asked = 1, retries = retries + 1 WHERE turn_id = :id AND state = 'quarantined' AND asked = 0;

-- name: dead_reply_ask  Likewise a part of a reply.
UPDATE outbox SET asked = 1, retries = retries + 1 WHERE id = :id AND state = 'dead' AND asked = 0;

-- name: dead_update_drop  An unreadable update is dealt with: its words go; the row stays, so that it is known if it comes again.
UPDATE inbox SET state = 'done', body = NULL, asked = 0, problem = :problem
WHERE id = :id AND state = 'quarantined' AND turn_id IS NULL;

-- name: dead_turn_drop  Likewise the messages of a turn.
UPDATE inbox SET state = 'done', body = NULL, asked = 0, problem = :problem WHERE turn_id = :id AND state = 'quarantined';

-- name: dead_reply_drop  A part that nobody will see any more.
DELETE FROM outbox WHERE id = :id AND state = 'dead';

-- name: dead_row_done  Another row has taken its place.
UPDATE inbox SET state = 'done', body = NULL, asked = 0 WHERE id = :id AND state = 'quarantined';

-- name: dead_row_failed  It was tried again, and can still not be read.
UPDATE inbox SET asked = 0, problem = :problem WHERE id = :id AND state = 'quarantined';

-- name: outbox_revive  The dead parts to be tried again are ready like any other.
UPDATE outbox SET state = 'ready', asked = 0, problem = '' WHERE platform = :platform AND state = 'dead' AND asked = 1
RETURNING *;

-- name: dead_updates_asked  What is to be tried again of a platform, in order.
SELECT id, turn_id, source, key, body, retries FROM inbox
WHERE platform = :platform AND state = 'quarantined' AND asked = 1 ORDER BY id;

-- name: dead_prune_updates  What has been dead for too long.
DELETE FROM inbox WHERE state = 'quarantined'
  AND coalesce((SELECT ended_at FROM turns WHERE turns.id = inbox.turn_id), received_at) < :before;

-- name: dead_prune_replies  Likewise.
DELETE FROM outbox WHERE state = 'dead' AND created_at < :before;

-- name: wal_empty  What was erased must not stay in the write-ahead log either.
PRAGMA wal_checkpoint(TRUNCATE);

-- name: inbox_keep  A turn was given up: its rows and their words stay, as dead letters.
UPDATE inbox SET state = 'quarantined' WHERE turn_id = :turn_id AND state = 'running';

-- name: usage_reserve  A model call that is about to be made, at its upper estimate.
INSERT INTO usage (at, turn_id, user_id, chat_key, model, input, cached, output, usd, state, person_spend, chat_spend, total_spend)
VALUES (:at, :turn_id, :user_id, :chat_key, :model, :input, 0, :output, :usd, 'reserved', :person, :chat, :total)
RETURNING id;

-- name: usage_reserved  A call that is not settled.
SELECT at, user_id, model, input + output AS tokens, usd, person_spend, chat_spend, total_spend FROM usage
WHERE id = :id AND state = 'reserved';

-- name: usage_settle  What it really used.
UPDATE usage SET input = :input, cached = :cached, output = :output, usd = :usd, state = 'settled' WHERE id = :id;

-- name: usage_release  It was never made.
DELETE FROM usage WHERE id = :id AND state = 'reserved';

-- name: usage_by  Calls since a time: by person, model, chat, or quarter of an hour (in every zone, days begin with one).
SELECT CASE :by WHEN 'person' THEN user_id WHEN 'model' THEN model WHEN 'chat' THEN chat_key
                ELSE CAST(at / 900 AS INTEGER) END AS key,
       count(*) AS calls,
       coalesce(sum(input) FILTER (WHERE state = 'settled'), 0) AS input,
       coalesce(sum(cached) FILTER (WHERE state = 'settled'), 0) AS cached,
       coalesce(sum(output) FILTER (WHERE state = 'settled'), 0) AS output,
       coalesce(sum(usd) FILTER (WHERE state = 'settled'), 0.0) AS usd,
       count(*) FILTER (WHERE state = 'reserved') AS unsettled,
       coalesce(sum(usd) FILTER (WHERE state = 'reserved'), 0.0) AS unsettled_usd
FROM usage WHERE at >= :since GROUP BY key ORDER BY key;

-- name: spend_last  The last day of a scope; one that lies too far ahead was opened by a clock that was wrong.
SELECT * FROM spend WHERE scope = :scope AND day <= :most ORDER BY day DESC LIMIT 1;

-- name: spend_open  A day begins.
INSERT INTO spend (scope, day, zone) VALUES (:scope, :day, :zone) RETURNING id;

-- name: spend_move  The zone has changed: the day that runs has another name now.
UPDATE spend SET day = :day, zone = :zone WHERE id = :id;

-- name: spend_turn  One more turn.
UPDATE spend SET turns = turns + 1 WHERE id = :id;

-- name: spend_hold  A call is about to be made.
UPDATE spend SET held_tokens = held_tokens + :tokens, held_nano = held_nano + :nano WHERE id IN (:person, :chat, :total);

-- name: spend_settle  It was made: what it used takes the estimate's place.
UPDATE spend SET held_tokens = held_tokens - :held_tokens, held_nano = held_nano - :held_nano,
                 tokens = tokens + :tokens, nano = nano + :nano
WHERE id IN (:person, :chat, :total) RETURNING *;

-- name: spend_warned  A warning is given once a day.
UPDATE spend SET warned = :warned WHERE id = :id;

-- name: spend_prune  Days that nobody asks for any more, and days that never were.
DELETE FROM spend WHERE day < :before OR day > :after;

-- name: pace_window  What a person began in the last minute.
SELECT at, count, told FROM pace WHERE user_id = :user_id AND at > :at - 60 AND at < :at + 60 ORDER BY at;

-- name: pace_add  One more.
INSERT INTO pace (user_id, at, count) VALUES (:user_id, :at, 1) ON CONFLICT DO UPDATE SET count = count + 1;

-- name: pace_told  They were told that it is too much.
UPDATE pace SET told = 1 WHERE user_id = :user_id AND at > :at - 60;

-- name: pace_told_first  Likewise, where they said nothing here yet: all was said under their other user ids.
INSERT INTO pace (user_id, at, count, told) VALUES (:user_id, :at, 0, 1) ON CONFLICT DO UPDATE SET told = 1;

-- name: pace_drop  A person's minutes that are over.
DELETE FROM pace WHERE user_id = :user_id AND at <= :at - 60;

-- name: pace_prune  Everybody's.
DELETE FROM pace WHERE at <= :before OR at > :after;

-- name: schedule_add  Something is to happen at a time.
INSERT INTO schedules (kind, name, platform, user_id, person, chat, chat_key, text, work, trigger, zone, missed, grace,
                       next_at, until, created_at)
VALUES (:kind, :name, :platform, :user_id, :person, :chat, :chat_key, :text, :work, :trigger, :zone, :missed, :grace,
        :next_at, :until, :created_at)
RETURNING id;

-- name: schedule_number  A reminder gets the smallest number that no other one of its person has.
UPDATE schedules SET number = (
    WITH taken AS (SELECT number FROM schedules WHERE kind = 'reminder' AND id <> :id
                   AND user_id IN (SELECT value FROM json_each(:people)))
    SELECT min(free) FROM (SELECT 1 AS free UNION ALL SELECT number + 1 FROM taken) WHERE free NOT IN (SELECT number FROM taken))
WHERE id = :id RETURNING number;

-- name: schedule_get  One of them.
SELECT * FROM schedules WHERE id = :id;

-- name: schedules_all  All of them, the next first.
SELECT * FROM schedules ORDER BY next_at, id;

-- name: schedules_of  What stands for some user ids, the next first.
SELECT * FROM schedules WHERE kind = :kind AND user_id IN (SELECT value FROM json_each(:people)) ORDER BY next_at, id;

-- name: schedules_count  How many reminders some user ids have.
SELECT count(*) AS number FROM schedules WHERE kind = 'reminder' AND user_id IN (SELECT value FROM json_each(:people));

-- name: schedule_cancel  Somebody takes a reminder of theirs back.
DELETE FROM schedules WHERE id = :id AND kind = 'reminder' AND user_id IN (SELECT value FROM json_each(:people)) RETURNING *;

-- name: schedules_pause  Chats can not be written to.
UPDATE schedules SET state = 'paused', problem = :problem
WHERE chat_key >= :first AND chat_key < :beyond AND state = 'active';

-- name: schedules_pause_home  Somebody can not be written to in private.
UPDATE schedules SET state = 'paused', problem = :problem WHERE user_id = :user_id AND chat_key = '' AND state = 'active';

-- name: schedules_resume  They can again.
UPDATE schedules SET state = 'active', problem = ''
WHERE chat_key >= :first AND chat_key < :beyond AND state = 'paused' AND problem = :problem;

-- name: schedules_resume_home  They can again.
UPDATE schedules SET state = 'active', problem = ''
WHERE chat_key = '' AND user_id = :user_id AND state = 'paused' AND problem = :problem;

-- name: schedules_drop  Nothing is to happen for somebody any more. What the operator's configuration sends to them by name stays.
DELETE FROM schedules WHERE user_id = :user_id AND (kind = 'reminder' OR chat <> '');

-- name: subscriptions_drop  Likewise what they subscribed to.
DELETE FROM subscriptions WHERE user_id = :user_id;

-- name: notice_add  Something that an operator is to be told.
INSERT INTO notices (user_id, chat, text) VALUES (:user_id, :chat, :text);

-- name: notices_all  What operators are to be told.
SELECT * FROM notices ORDER BY id;

-- name: notice_drop  They are.
DELETE FROM notices WHERE id = :id;

-- name: schedules_due  What is due by now, in order.
SELECT * FROM schedules WHERE platform = :platform AND state = 'active' AND next_at <= :at
  AND (:only = '' OR :only = coalesce(json_extract(nullif(chat, ''), '$.id'), (
    SELECT json_extract(homes.chat, '$.id') FROM homes WHERE homes.user_id = schedules.user_id)))
ORDER BY next_at, id LIMIT :limit;

-- name: schedules_next  When something is due next.
SELECT next_at FROM schedules WHERE platform = :platform AND state = 'active'
  AND (:only = '' OR :only = coalesce(json_extract(nullif(chat, ''), '$.id'), (
    SELECT json_extract(homes.chat, '$.id') FROM homes WHERE homes.user_id = schedules.user_id)))
ORDER BY next_at LIMIT 1;

-- name: schedules_ahead  What was fired later than now: the clock has been set back.
SELECT * FROM schedules WHERE platform = :platform AND state = 'active' AND last_at > :at ORDER BY last_at, id LIMIT :limit;

-- name: schedule_advance  It moves on, unless somebody else has moved it.
UPDATE schedules SET next_at = :next_at, last_at = coalesce(:fired_at, last_at), problem = :problem
WHERE id = :id AND next_at = :due AND state = 'active';

-- name: schedules_wake  What somebody has with that problem is due at once.
UPDATE schedules SET next_at = min(next_at, :at), problem = '' WHERE user_id = :user_id AND problem = :problem AND state = 'active';

-- name: schedule_end  It is never due again; unless somebody else has moved it.
DELETE FROM schedules WHERE id = :id AND next_at = :due AND state = 'active';

-- name: schedule_pause  It can not be fired; unless somebody else has moved it.
UPDATE schedules SET state = 'paused', problem = :problem WHERE id = :id AND next_at = :due AND state = 'active';

-- name: schedules_migrate  A chat has another id now.
UPDATE schedules SET chat = json_set(chat, '$.id', :new_id), chat_key = :new || substr(chat_key, length(:prefix) + 1)
WHERE chat_key >= :prefix AND chat_key < :prefix || char(1114111);

-- name: schedules_paused  What rests with a problem, a batch of it.
SELECT * FROM schedules WHERE platform = :platform AND state = 'paused' AND problem = :problem AND id > :after
ORDER BY id LIMIT :limit;

-- name: schedule_resume  What paused it is over.
UPDATE schedules SET state = 'active', problem = '' WHERE id = :id AND state = 'paused';

-- name: schedules_named  The rows of the operator's schedules.
SELECT * FROM schedules WHERE platform = :platform AND name <> '' ORDER BY name, user_id;

-- name: schedule_change  The configuration says something else now.
UPDATE schedules SET text = :text, work = :work, trigger = :trigger, zone = :zone, missed = :missed, grace = :grace,
                     next_at = :next_at, until = :until, person = :person, chat = :chat, chat_key = :chat_key,
                     state = iif(chat_key = :chat_key, state, 'active'), problem = iif(chat_key = :chat_key, problem, '')
WHERE id = :id;

-- name: schedule_remove  The configuration has it no more.
DELETE FROM schedules WHERE id = :id;

-- name: schedules_counts  How many schedules there are, and when the next one is due: all of it out of indexes.
SELECT (SELECT count(*) FROM schedules WHERE state = 'active') AS active,
       (SELECT count(*) FROM schedules WHERE state = 'paused') AS paused,
       (SELECT min(next_at) FROM schedules WHERE state = 'active') AS next_at;

-- name: schedules_troubled  Operator's schedules that have a problem.
SELECT name, user_id, problem FROM schedules WHERE name <> '' AND problem <> '' ORDER BY name, user_id LIMIT :limit;

-- name: subscription_add  Somebody wants an operator's schedule.
INSERT INTO subscriptions (name, user_id, person, chat, at) VALUES (:name, :user_id, :person, :chat, :at)
ON CONFLICT DO NOTHING;

-- name: subscription_drop  They want it no more.
DELETE FROM subscriptions WHERE name = :name AND user_id IN (SELECT value FROM json_each(:people));

-- name: subscription_rows_drop  Likewise what it would fire. What the configuration sends to them by name has no chat, and stays.
DELETE FROM schedules WHERE kind = 'prompt' AND chat <> '' AND name = :name
  AND user_id IN (SELECT value FROM json_each(:people));

-- name: subscriptions_of  What somebody subscribed to.
SELECT name FROM subscriptions WHERE user_id IN (SELECT value FROM json_each(:people));

-- name: subscribers  Who wants it on a platform.
SELECT * FROM subscriptions WHERE name = :name AND substr(user_id, 1, length(:prefix)) = :prefix ORDER BY user_id;

-- name: person_quiet_get  A person's quiet hours, by any of their user ids.
SELECT quiet FROM people WHERE quiet <> '' AND (user_id = :user_id OR user_id IN (
    SELECT user_id FROM links WHERE person = (SELECT person FROM links WHERE user_id = :user_id)))
ORDER BY user_id <> :user_id, user_id LIMIT 1;

-- name: alias_get  The id that a chat has now.
SELECT new_id FROM chat_aliases WHERE platform = :platform AND old_id = :old_id;

-- name: call_get  What a tool call said when it was done.
SELECT said FROM tool_calls WHERE key = :key;

-- name: call_add  A tool call has changed something.
INSERT INTO tool_calls (key, said, at) VALUES (:key, :said, :at);

-- name: calls_prune  Calls of turns that are long over.
DELETE FROM tool_calls WHERE at < :before;

-- name: forget_code_set  Somebody gets a code to confirm with, in the place of an older one.
INSERT INTO forget_codes (user_id, code, people, expires_at) VALUES (:user_id, :code, :people, :expires_at)
ON CONFLICT DO UPDATE SET code = excluded.code, people = excluded.people, expires_at = excluded.expires_at;

-- name: forget_code_get  Whether it is their code, and what they were told then.
SELECT people FROM forget_codes WHERE user_id = :user_id AND code = :code AND expires_at > :at;

-- name: forget_code_drop  It is used.
DELETE FROM forget_codes WHERE user_id = :user_id;

-- name: forget_codes_expire  Codes that are over.
DELETE FROM forget_codes WHERE expires_at <= :at;

-- name: erasure_ask  Somebody is to be forgotten; one whose rows are not yet erased is so already.
INSERT INTO erasures (user_id, person, asked_at, tell) VALUES (:user_id, :person, :at, :tell)
ON CONFLICT DO UPDATE SET person = excluded.person, asked_at = excluded.asked_at, tell = excluded.tell,
                          upto = NULL, erased_at = NULL, done_at = NULL
WHERE erasures.erased_at IS NOT NULL;

-- name: erasures_owed  Erasures that are not done, or not told.
SELECT * FROM erasures WHERE done_at IS NULL OR tell <> '' ORDER BY asked_at, user_id;

-- name: erasure_get  How far the erasure of somebody has come.
SELECT * FROM erasures WHERE user_id = :user_id;

-- name: erasure_begin  What is in the inbox now goes, and nothing that comes later, however often this is begun.
UPDATE erasures SET upto = coalesce(upto, (SELECT max(id) FROM inbox), 0) WHERE user_id = :user_id;

-- name: erasure_again  It could not be done: what comes until the next try goes as well.
UPDATE erasures SET upto = NULL WHERE user_id = :user_id AND erased_at IS NULL;

-- name: erasure_spent  Which days of limits it has left.
UPDATE erasures SET spent = :spent WHERE user_id = :user_id;

-- name: erasure_erased  Rows and files are gone.
UPDATE erasures SET erased_at = :at WHERE user_id = :user_id;

-- name: erasure_done  Nothing is left; unless it was asked for anew.
UPDATE erasures SET done_at = :at WHERE user_id = :user_id AND asked_at = :asked_at AND erased_at IS NOT NULL;

-- name: erasure_told  They know.
UPDATE erasures SET tell = '' WHERE user_id = :user_id;

-- name: erasures_old  Those that are done for long.
SELECT user_id, spent FROM erasures WHERE done_at < :before AND tell = '';

-- name: erasure_drop  Nobody asks for it any more.
DELETE FROM erasures WHERE user_id = :user_id;

-- name: erase_known  Whether anything is kept of somebody, but that they were told of an erasure.
SELECT 1 WHERE EXISTS (SELECT 1 FROM inbox WHERE user_id = :user_id AND body IS NOT NULL)
  OR EXISTS (SELECT 1 FROM turns WHERE user_id = :user_id AND outcome <> 'own:notice')
  OR EXISTS (SELECT 1 FROM room WHERE user_id = :user_id) OR EXISTS (SELECT 1 FROM room_people WHERE user_id = :user_id)
  OR EXISTS (SELECT 1 FROM transcript_files WHERE user_id = :user_id) OR EXISTS (SELECT 1 FROM people WHERE user_id = :user_id)
  OR EXISTS (SELECT 1 FROM usage WHERE user_id = :user_id) OR EXISTS (SELECT 1 FROM homes WHERE user_id = :user_id)
  OR EXISTS (SELECT 1 FROM schedules WHERE user_id = :user_id AND (kind = 'reminder' OR chat <> ''))
  OR EXISTS (SELECT 1 FROM links WHERE user_id = :user_id)
  OR EXISTS (SELECT 1 FROM access WHERE user_id = :user_id AND name <> '');

-- name: erase_turns_of  The turns of somebody.
SELECT id FROM turns WHERE user_id = :user_id;

-- name: erase_turns  They were nobody's; who works on one writes nothing any more.
UPDATE turns SET user_id = '', stream_id = 0, ended_at = coalesce(ended_at, :at),
                 outcome = iif(state = 'running', 'forgotten', outcome), state = 'done'
WHERE user_id = :user_id;

-- name: erase_streams_own  The conversations of one person alone.
SELECT id FROM streams WHERE substr(key, -length(:user_id) - 1) = ':' || :user_id;

-- name: erase_streams_shared  Conversations in which somebody took part.
SELECT stream_id FROM turns WHERE user_id = :user_id AND stream_id > 0
UNION SELECT stream_id FROM transcript_sections WHERE user_id = :user_id AND stream_id > 0;

-- name: erase_turns_unknown  Turns of an older version in some conversations: whose they are is not known.
SELECT id FROM turns WHERE user_id = '' AND stream_id IN (SELECT value FROM json_each(:streams));

-- name: erase_streams_hearing  Conversations in chats where somebody was heard. A stream's key is its chat's, a colon, and whose it is.
SELECT id FROM streams WHERE rtrim(key, replace(key, ':', '')) IN
  (SELECT chat_key || ':' FROM room_people
   WHERE user_id = :user_id OR (user_id = '' AND substr(chat_key, 1, length(:prefix)) = :prefix));

-- name: erase_events  Whole conversations.
DELETE FROM events WHERE stream_id IN (SELECT value FROM json_each(:streams));

-- name: erase_room_seen  How far they had heard the room.
DELETE FROM room_seen WHERE stream_id IN (SELECT value FROM json_each(:streams));

-- name: erase_streams  The conversations themselves, once their events are gone.
DELETE FROM streams WHERE id IN (SELECT value FROM json_each(:streams));

-- name: erase_said  Some turns of shared conversations, and what sums any of them up.
DELETE FROM events WHERE stream_id IN (SELECT value FROM json_each(:streams))
  AND (type = 'summary' OR turn_id IN (SELECT value FROM json_each(:turns)));

-- name: erase_context  What the turns of some conversations had heard in the room.
UPDATE events SET data = json_set(data, '$.context', '')
WHERE stream_id IN (SELECT value FROM json_each(:streams)) AND type = 'user' AND json_extract(data, '$.context') <> '';

-- name: erase_room  What somebody said in groups; and what an older version kept of whom, nobody knows.
DELETE FROM room WHERE user_id = :user_id OR (user_id = '' AND substr(chat_key, 1, length(:prefix)) = :prefix);

-- name: erase_room_people  Likewise where they were heard.
DELETE FROM room_people WHERE user_id = :user_id OR (user_id = '' AND substr(chat_key, 1, length(:prefix)) = :prefix);

-- name: erase_chats_private  The platform's ids of the chats that somebody has with us alone.
SELECT json_extract(chat, '$.id') AS id FROM homes WHERE user_id = :user_id
UNION SELECT json_extract(chat, '$.id') FROM outbox
WHERE turn_id IN (SELECT value FROM json_each(:turns)) AND json_extract(chat, '$.kind') = 'private';

-- name: erase_outbox  The replies of some turns, and what is said in some private chats.
DELETE FROM outbox WHERE turn_id IN (SELECT value FROM json_each(:turns))
  OR (platform = :platform AND json_extract(chat, '$.kind') = 'private'
      AND json_extract(chat, '$.id') IN (SELECT value FROM json_each(:chats)));

-- name: erase_calls  What their tool calls have said; a key begins with its turn.
DELETE FROM tool_calls WHERE substr(key, 1, instr(key, '.') - 1) IN (SELECT value FROM json_each(:turns));

-- name: erase_undelivered  The turns of somebody whose replies are not delivered.
SELECT DISTINCT turn_id FROM outbox JOIN turns ON turns.id = outbox.turn_id
WHERE outbox.state = 'ready' AND turns.user_id = :user_id;

-- name: erase_inbox  Of what somebody sent the keys stay, so that it is known if it comes again.
UPDATE inbox SET state = iif(state IN ('ignored', 'refused'), state, 'done'), body = NULL, user_id = '', lane = '',
                 message_id = '', problem = 'forgotten', asked = 0
WHERE user_id = :user_id AND id <= :upto;

-- name: erase_unreadable  What a platform sent and nobody could read.
SELECT id, body FROM inbox WHERE platform = :platform AND state = 'quarantined' AND turn_id IS NULL AND body IS NOT NULL;

-- name: erase_usage  What was used stays, as nobody's, and in no chat that nobody else has used.
UPDATE usage SET user_id = '', chat_key = iif(chat_key IN (
    SELECT chat_key FROM usage WHERE user_id <> :user_id AND chat_key IN (SELECT chat_key FROM usage WHERE user_id = :user_id)
  ), chat_key, '')
WHERE user_id = :user_id;

-- name: erase_spend  Days of some limits that are over.
DELETE FROM spend WHERE scope IN (SELECT value FROM json_each(:scopes)) AND day < :before;

-- name: erase_pending  Turns that their transcript does not have yet.
DELETE FROM transcript_pending WHERE user_id = :user_id;

-- name: erase_sections  What is known of somebody's files.
DELETE FROM transcript_sections WHERE user_id = :user_id;

-- name: erase_files  Likewise.
DELETE FROM transcript_files WHERE user_id = :user_id;

-- name: erase_person  Somebody's settings.
DELETE FROM people WHERE user_id = :user_id;

-- name: erase_home  Their private chat.
DELETE FROM homes WHERE user_id = :user_id;

-- name: erase_notices  What they were to be told as an operator.
DELETE FROM notices WHERE user_id = :user_id;

-- name: erase_access  The operator's decision about them stays, without a name.
UPDATE access SET name = '', welcome = '' WHERE user_id = :user_id;

-- name: erase_decided  Likewise their own decisions about others.
UPDATE access SET by = 'somebody who was forgotten' WHERE by = :user_id;

-- name: erase_link_codes  Codes that they were given.
DELETE FROM link_codes WHERE user_id = :user_id;

-- name: erase_link_codes_shown  Codes that they have typed.
UPDATE link_codes SET shown_to = '[]' WHERE EXISTS (SELECT 1 FROM json_each(shown_to) WHERE value = :user_id);

-- name: erase_link_notices  What they, or others about them, were to be told.
DELETE FROM link_notices WHERE user_id = :user_id OR EXISTS (SELECT 1 FROM json_each(others) WHERE value = :user_id);

-- name: erase_link_tries  Wrong codes of theirs that do not count any more.
DELETE FROM link_tries WHERE user_id = :user_id AND at < :before;

-- name: wait_for_nobody  What is locked fails at once from here on.
PRAGMA busy_timeout = 0;

-- name: wait_as_usual  It is waited for again, as long as memory/database.py says.
PRAGMA busy_timeout = 10000;

-- name: vacuum  The file is written anew: where rows were moved from page to page, SQLite leaves copies of them.
VACUUM;

-- name: export_streams  The conversations in which somebody took part, and whether they are theirs alone.
SELECT id, key, opened_at, closed_at, close_reason,
       substr(key, -length(:user_id) - 1) = ':' || :user_id AS own,
       EXISTS (SELECT 1 FROM events WHERE stream_id = streams.id AND type = 'user' AND json_extract(data, '$.speaker') <> '')
           AS room
FROM streams
WHERE own OR id IN (SELECT stream_id FROM turns WHERE user_id = :user_id)
ORDER BY id;

-- name: export_events  Of a conversation what somebody said, and what was answered to them.
SELECT seq, turn_id, type, data, at FROM events
WHERE stream_id = :stream_id
  AND (:own OR turn_id IN (SELECT id FROM turns WHERE stream_id = :stream_id AND user_id = :user_id))
ORDER BY seq;

-- name: export_usage  Somebody's model calls.
SELECT at, chat_key, model, input, cached, output, usd, state FROM usage WHERE user_id = :user_id ORDER BY at, id;

-- name: export_schedules  What is to happen for somebody at a time.
SELECT kind, name, number, text, chat_key, work, trigger, zone, missed, state, next_at, last_at, until, created_at FROM schedules
WHERE user_id = :user_id ORDER BY id;

-- name: export_subscriptions  Which of the operator's schedules somebody gets.
SELECT name, json_extract(chat, '$.platform') || ':' || json_extract(chat, '$.id') AS chat_key, at FROM subscriptions
WHERE user_id = :user_id ORDER BY at;

-- name: export_person  What is set for somebody, what was decided about them, and where they are written to.
SELECT coalesce((SELECT timezone FROM people WHERE user_id = :user_id), '') AS timezone,
       coalesce((SELECT quiet FROM people WHERE user_id = :user_id), '') AS quiet,
       (SELECT state FROM access WHERE user_id = :user_id) AS access,
       (SELECT name FROM access WHERE user_id = :user_id) AS name,
       (SELECT at FROM access WHERE user_id = :user_id) AS decided_at,
       (SELECT chat FROM homes WHERE user_id = :user_id) AS chat;

-- name: export_room  What somebody said lately in groups, and what was answered to them there.
SELECT chat_key, speaker, text, at FROM room WHERE user_id = :user_id ORDER BY id;

-- name: export_waiting  What of somebody's messages is not worked on, or could not be.
SELECT state, body, received_at FROM inbox
WHERE user_id = :user_id AND body IS NOT NULL AND state IN ('waiting', 'running', 'quarantined') ORDER BY id;

-- name: export_undelivered  What somebody was not told yet, or could not be.
SELECT outbox.state, outbox.text, outbox.created_at FROM outbox JOIN turns ON turns.id = outbox.turn_id
WHERE turns.user_id = :user_id AND outbox.text IS NOT NULL ORDER BY outbox.id;

-- name: export_pending  Turns that are complete and that no file had when we looked.
SELECT record FROM transcript_pending WHERE user_id = :user_id ORDER BY turn_id;

-- name: export_known  Whether anything is kept of somebody.
SELECT EXISTS (SELECT 1 FROM inbox WHERE user_id = :user_id AND state <> 'refused') OR EXISTS (SELECT 1 FROM turns WHERE user_id = :user_id)
    OR EXISTS (SELECT 1 FROM streams WHERE substr(key, -length(:user_id) - 1) = ':' || :user_id)
    OR EXISTS (SELECT 1 FROM people WHERE user_id = :user_id) OR EXISTS (SELECT 1 FROM access WHERE user_id = :user_id)
    OR EXISTS (SELECT 1 FROM usage WHERE user_id = :user_id) OR EXISTS (SELECT 1 FROM schedules WHERE user_id = :user_id) AS known;

-- name: retain_no_section  A day's file is removed.
DELETE FROM transcript_sections WHERE user_id = :user_id AND date = :date;

-- name: retain_no_file  Likewise.
DELETE FROM transcript_files WHERE user_id = :user_id AND date = :date;

-- name: retain_no_streams  Conversations that ended too long ago.
SELECT id FROM streams WHERE closed_at < :before ORDER BY id LIMIT :count;

-- name: retain_no_events  The beginning of those that have ended since.
DELETE FROM events WHERE at < :before
  AND stream_id IN (SELECT id FROM streams WHERE closed_at >= :before AND opened_at < :before);

-- name: retain_no_turns  Turns whose conversation is gone: once no other row points to them, they go like commands.
UPDATE turns SET stream_id = 0
WHERE started_at < :before AND state = 'done' AND stream_id > 0 AND stream_id NOT IN (SELECT id FROM streams);

-- name: retain_no_room  What was said in groups too long ago.
DELETE FROM room WHERE at < :before;
