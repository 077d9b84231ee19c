-- Times are microseconds since 1970.
CREATE TABLE tasks (
    task_id             TEXT    NOT NULL PRIMARY KEY,
    user_id             TEXT    NOT NULL,
    created_at          INTEGER NOT NULL,
    file_name           TEXT    NOT NULL,
    -- The task: two words and two numbers to decide by, and its payloads.
    status              TEXT    NOT NULL,
    revision            INTEGER NOT NULL,
    run                 INTEGER NOT NULL,
    payload             TEXT    NOT NULL,
    previous_status     TEXT,
    previous_payload    TEXT,
    -- Beside the task, for it must not revert: when it was completed. And the seconds that it is
    -- kept from then on, which go with each payload.
    ended_at            INTEGER,
    expires_in          INTEGER,
    previous_expires_in INTEGER,
    -- The queue: oldest first; who has a message or a run has it until then. The run at which a
    -- client queued it tells how many attempts there were.
    queued_at           INTEGER NOT NULL,
    queued_run          INTEGER NOT NULL,
    leased_until        INTEGER NOT NULL,
    UNIQUE (user_id, created_at),
    CHECK ((previous_status IS NULL) = (previous_payload IS NULL)),
    -- The nine states.
    CHECK (status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')),
    CHECK (previous_status IS NULL
           OR (status IN ('Starting', 'Processing') AND previous_status IN ('Succeeded', 'Failed')))
) STRICT;
CREATE INDEX tasks_list ON tasks (user_id, status, created_at);
CREATE INDEX tasks_queue ON tasks (queued_at) WHERE status IN ('Starting', 'Processing');
CREATE INDEX tasks_place ON tasks (queued_at);

-- By hand as well, a change is counted: whoever loaded the task before must see it.
CREATE TRIGGER tasks_revision BEFORE UPDATE OF status, run, payload, previous_status, previous_payload
ON tasks FOR EACH ROW WHEN NEW.revision = OLD.revision
BEGIN
    SELECT RAISE(ABORT, 'a change of a task must change its revision');
END;

-- The one clock, which has only milliseconds; and the place of what is queued now, after all others.
CREATE VIEW clock AS
SELECT now, max(now, coalesce((SELECT max(queued_at) + 1 FROM tasks), now)) AS place
FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now);

-- Without what has expired.
CREATE VIEW visible AS
SELECT *, octet_length(payload) AS size FROM tasks
WHERE (ended_at + expires_in * 1000000 > (SELECT now FROM clock)) IS NOT FALSE;

CREATE TABLE files (
    task_id TEXT NOT NULL PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    content BLOB NOT NULL
) STRICT;

-- What happened, in JSON. It outlives its task, for as long as the program is told to keep it.
CREATE TABLE events (
    number  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    task_id TEXT    NOT NULL,
    user_id TEXT    NOT NULL,
    event   TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX events_task ON events (task_id, number);
CREATE INDEX events_at ON events (at);

-- Requests that say by a name of the client's that they are the same, for a day.
CREATE TABLE requests (
    user_id     TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    task_id     TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (user_id, name)
) STRICT;
CREATE INDEX requests_at ON requests (at);
