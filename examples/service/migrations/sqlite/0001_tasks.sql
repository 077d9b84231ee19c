-- A task and everything beside it is one row: a change, its message, its lease and its entry in the
-- log are one statement. Times are microseconds since 1970 by the database's clock; revisions and
-- runs are unsigned 64-bit numbers, kept bit for bit.
CREATE TABLE tasks (
    task_id          TEXT   NOT NULL PRIMARY KEY,
    owner            TEXT   NOT NULL,
    created_at       INTEGER NOT NULL,

    -- The task, as the state machine has it. A payload is a JSON text, kept to the letter.
    status           TEXT   NOT NULL,
    previous_status  TEXT,
    revision         INTEGER NOT NULL,
    run              INTEGER NOT NULL,
    payload          TEXT   NOT NULL,
    previous_payload TEXT,

    -- Beside the task, for none of it may revert.
    queued_run       INTEGER NOT NULL, -- the run for which a client queued the task last
    attempts         INTEGER NOT NULL, -- the leases that have expired since then
    stop_requested   INTEGER,          -- the run in which a client asked for a stop
    ended_at         INTEGER,

    -- The lease of the run: until when, and for how long it is taken and renewed.
    lease_run        INTEGER,
    lease_until      INTEGER,
    lease_length     INTEGER,

    -- The message of a task that is `Starting`: (task_id, run). The lowest place comes first; nobody
    -- receives it before it is due; one that is never due was put aside.
    place            INTEGER NOT NULL,
    due_at           INTEGER,
    deliveries       INTEGER NOT NULL, -- how often it was received

    -- The last change, for the log: the operations in their order, or `create`, `edit`, `stop`; and
    -- `request ID` or `worker NAME`. Whoever changes a task by hand sets both, and the revision.
    operations       TEXT   NOT NULL,
    changed_by       TEXT   NOT NULL,
    reason           TEXT,            -- why it failed; of a failed update only the log tells

    file             BLOB NOT NULL, -- the document; the last column, for hardly anybody reads it

    -- The nine states.
    CHECK (status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')),
    CHECK (previous_status IS NULL
           OR (status IN ('Starting', 'Processing') AND previous_status IN ('Succeeded', 'Failed'))),
    CHECK ((previous_status IS NULL) = (previous_payload IS NULL)),
    -- The lease is there exactly while the task is worked on, and it is that run's.
    CHECK ((status = 'Processing') = (lease_run IS NOT NULL)),
    CHECK (lease_run IS NULL OR lease_run = run),
    CHECK ((lease_run IS NULL) = (lease_until IS NULL)),
    CHECK ((lease_run IS NULL) = (lease_length IS NULL)),
    CHECK ((status IN ('Succeeded', 'Failed', 'Cancelled')) = (ended_at IS NOT NULL))
) STRICT;
-- Of an expression, or a planner without statistics may look for a task among all of its owner's.
CREATE INDEX tasks_list ON tasks ((owner || ''), created_at);
CREATE INDEX tasks_active ON tasks (place) WHERE ended_at IS NULL;

-- A change by hand is counted, too: whoever loaded the task before must see it.
CREATE TRIGGER tasks_revision BEFORE UPDATE OF status, run, payload, previous_status, previous_payload
ON tasks FOR EACH ROW WHEN NEW.revision = OLD.revision
BEGIN
    SELECT RAISE(ABORT, 'a change of a task must change its revision');
END;

-- The one clock, which has only milliseconds here; and the place of what is queued now, behind all
-- others.
CREATE VIEW clock AS
SELECT now, max(now, coalesce((SELECT max(place) + 1 FROM tasks WHERE ended_at IS NULL), now)) AS place
FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now);

-- The messages that are due, in their order. One that is not due for more than a minute is so by a
-- clock that was set back.
CREATE VIEW due AS
SELECT task_id FROM tasks
WHERE ended_at IS NULL AND status = 'Starting'
    AND due_at NOT BETWEEN (SELECT now FROM clock) + 1 AND (SELECT now FROM clock) + 60000000
ORDER BY place;

-- What is loaded. A lease is over when its end has passed, and when it ends further ahead than it is
-- long, for the clock was set back then.
CREATE VIEW loads AS
SELECT task_id, owner, created_at, status, previous_status, revision, run, payload,
    previous_payload, queued_run, attempts, stop_requested, ended_at, lease_until,
    CASE WHEN lease_until IS NULL THEN FALSE ELSE lease_until NOT BETWEEN
        (SELECT now FROM clock) AND (SELECT now FROM clock) + lease_length END AS is_lease_over
FROM tasks;

-- What nobody works on any more.
CREATE VIEW overdue AS
SELECT task_id, owner FROM loads
WHERE ended_at IS NULL AND status = 'Processing' AND is_lease_over
ORDER BY lease_until;

-- The log. It is only ever added to, in the statement that makes the change, and outlives its task:
-- one row for each change, whoever makes it. (Renewals and deliveries leave the revision alone, and
-- are none.)
CREATE TABLE events (
    number          INTEGER NOT NULL PRIMARY KEY,
    at              INTEGER NOT NULL,
    task_id         TEXT   NOT NULL,
    owner           TEXT   NOT NULL,
    operations      TEXT   NOT NULL, -- as in `tasks`; `delete`
    changed_by      TEXT   NOT NULL, -- as in `tasks`; of a delete: `owner`
    reason          TEXT,
    loaded          INTEGER,         -- the revision that it was made from; NULL: created
    revision        INTEGER,         -- and that it led to; NULL: deleted
    run             INTEGER NOT NULL,
    status          TEXT,            -- the state that it led to; NULL: deleted
    previous_status TEXT,
    -- The current payload after it, to the letter, unless it is the same as before. So the last one
    -- that is not NULL is the payload; and a revert is exact if it is the one from before the update.
    payload         TEXT
) STRICT;
CREATE INDEX events_task ON events (task_id, number);

CREATE TRIGGER tasks_created AFTER INSERT ON tasks FOR EACH ROW
BEGIN
    INSERT INTO events
    SELECT NULL, now, NEW.task_id, NEW.owner, NEW.operations, NEW.changed_by, NEW.reason,
        NULL, NEW.revision, NEW.run, NEW.status, NEW.previous_status, NEW.payload
    FROM clock;
END;
CREATE TRIGGER tasks_changed AFTER UPDATE OF revision ON tasks FOR EACH ROW
BEGIN
    INSERT INTO events
    SELECT NULL, now, NEW.task_id, NEW.owner, NEW.operations, NEW.changed_by, NEW.reason,
        OLD.revision, NEW.revision, NEW.run, NEW.status, NEW.previous_status,
        CASE WHEN NEW.payload IS NOT OLD.payload THEN NEW.payload END
    FROM clock;
END;
CREATE TRIGGER tasks_deleted AFTER DELETE ON tasks FOR EACH ROW
BEGIN
    INSERT INTO events
    SELECT NULL, now, OLD.task_id, OLD.owner, 'delete', 'owner', NULL,
        OLD.revision, NULL, OLD.run, NULL, NULL, NULL
    FROM clock;
END;

-- The log, as clients see it.
CREATE VIEW log AS
SELECT number, task_id, owner, json_object(
    'at', at, 'operations', operations, 'changed_by', changed_by, 'reason', reason,
    'loaded', loaded, 'revision', revision, 'run', run,
    'status', status, 'previous_status', previous_status
) AS event
FROM events;
