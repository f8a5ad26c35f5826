-- Numbers of reminders, per person. Those that people have been told are kept.

ALTER TABLE schedules ADD COLUMN number INTEGER NOT NULL DEFAULT 0;   -- what its person calls a reminder by; 0: it is none
UPDATE schedules SET number = id WHERE kind = 'reminder';
-- A process of an older version may run another platform yet, and tells people the id.
CREATE TRIGGER schedules_of_older AFTER INSERT ON schedules WHEN NEW.kind = 'reminder' AND NEW.number = 0 BEGIN
    UPDATE schedules SET number = id WHERE id = NEW.id;
END;
