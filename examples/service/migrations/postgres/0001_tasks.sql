-- A task and everything beside it is one row: a change, its message, its lease and its entry in the
-- log are one statement. Times are microseconds since 1970 by the database's clock; revisions and
-- runs are unsigned 64-bit numbers, kept bit for bit.
CREATE TABLE tasks (
    task_id          TEXT   NOT NULL PRIMARY KEY,
    owner            TEXT   NOT NULL,
    created_at       BIGINT NOT NULL,

    -- The task, as the state machine has it. A payload is a JSON text, kept to the letter.
    status           TEXT   NOT NULL,
    previous_status  TEXT,
    revision         BIGINT NOT NULL,
    run              BIGINT NOT NULL,
    payload          TEXT   NOT NULL,
    previous_payload TEXT,

    -- Beside the task, for none of it may revert.
    queued_run       BIGINT NOT NULL, -- the run for which a client queued the task last
    attempts         BIGINT NOT NULL, -- the leases that have expired since then
    stop_requested   BIGINT,          -- the run in which a client asked for a stop
    ended_at         BIGINT,

    -- The lease of the run: until when, and for how long it was taken or renewed.
    lease_run        BIGINT,
    lease_until      BIGINT,
    lease_length     BIGINT,

    -- The message of a task that is `Starting`: (task_id, run). The lowest place comes first; nobody
    -- receives it before it is due; one that is never due was put aside.
    place            BIGINT NOT NULL,
    due_at           BIGINT,
    deliveries       BIGINT NOT NULL, -- how often it was received

    -- The last change, for the log: the operations in their order, or `create`, `edit`, `stop`; and
    -- `request ID` or `worker NAME`. Whoever changes a task by hand sets both, and the revision.
    operations       TEXT   NOT NULL,
    changed_by       TEXT   NOT NULL,
    reason           TEXT,            -- why it failed; of a failed update only the log tells

    file             BYTEA NOT NULL, -- the document; the last column, for hardly anybody reads it

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
);
CREATE INDEX tasks_list ON tasks (owner, created_at);
CREATE INDEX tasks_queue ON tasks (place) WHERE status = 'Starting';
CREATE INDEX tasks_leases ON tasks (lease_until) WHERE status = 'Processing';

-- A change by hand is counted, too: whoever loaded the task before must see it.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a change of a task must change its revision';
END $$;
CREATE TRIGGER tasks_revision BEFORE UPDATE OF status, run, payload, previous_status, previous_payload
ON tasks FOR EACH ROW WHEN (NEW.revision = OLD.revision) EXECUTE FUNCTION refuse();

-- The one clock; and the place of what is queued now.
CREATE VIEW clock AS
SELECT now, now AS place
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT AS now) AS clock;

-- The messages that are due, in their order. One that is not due for more than a minute is so by a
-- clock that was set back.
CREATE VIEW due AS
SELECT task_id FROM tasks
WHERE status = 'Starting'
    AND due_at NOT BETWEEN (SELECT now FROM clock) + 1 AND (SELECT now FROM clock) + 60000000
ORDER BY place FOR UPDATE SKIP LOCKED;

-- What is loaded. A lease is over when its end has passed, and when it ends further ahead than it is
-- long, for the clock was set back then.
CREATE VIEW loads AS
SELECT task_id, owner, created_at, status, previous_status, revision, run, payload,
    previous_payload, queued_run, attempts, stop_requested, ended_at, lease_until,
    coalesce(lease_until NOT BETWEEN (SELECT now FROM clock)
        AND (SELECT now FROM clock) + lease_length, FALSE) AS is_lease_over
FROM tasks;

-- What nobody works on any more.
CREATE VIEW overdue AS
SELECT task_id, owner FROM loads WHERE status = 'Processing' AND is_lease_over
ORDER BY lease_until;

-- The log. It is only ever added to, in the statement that makes the change, and outlives its task:
-- one row for each change, whoever makes it. (Renewals and deliveries leave the revision alone, and
-- are none.)
CREATE TABLE events (
    number                 BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                     BIGINT NOT NULL,
    task_id                TEXT   NOT NULL,
    owner                  TEXT   NOT NULL,
    operations             TEXT   NOT NULL, -- as in `tasks`; `delete`
    changed_by             TEXT   NOT NULL, -- as in `tasks`; of a delete: `owner`
    reason                 TEXT,
    loaded                 BIGINT,          -- the revision that it was made from; NULL: created
    revision               BIGINT,          -- and that it led to; NULL: deleted
    run                    BIGINT NOT NULL,
    -- The state before, NULL if it was created here; and after, NULL if it was deleted.
    status_before          TEXT,
    previous_status_before TEXT,
    status                 TEXT,
    previous_status        TEXT,
    -- The current payload after it, to the letter, unless it is the same as before. So the last one
    -- that is not NULL is the payload; and a revert is exact if it is the one from before the update.
    payload                TEXT,
    -- Beside the task, after it.
    queued_run             BIGINT NOT NULL,
    attempts               BIGINT NOT NULL,
    stop_requested         BIGINT
);
CREATE INDEX events_task ON events (task_id, number);

CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- OLD is NULL for an insert, and NEW for a delete.
    INSERT INTO events (at, task_id, owner, operations, changed_by, reason, loaded, revision, run,
        status_before, previous_status_before, status, previous_status, payload,
        queued_run, attempts, stop_requested)
    VALUES (
        (SELECT now FROM clock), coalesce(NEW.task_id, OLD.task_id), coalesce(NEW.owner, OLD.owner),
        coalesce(NEW.operations, 'delete'), coalesce(NEW.changed_by, 'owner'),
        NEW.reason,
        OLD.revision, NEW.revision, coalesce(NEW.run, OLD.run),
        OLD.status, OLD.previous_status, NEW.status, NEW.previous_status,
        CASE WHEN NEW.payload IS DISTINCT FROM OLD.payload THEN NEW.payload END,
        coalesce(NEW.queued_run, OLD.queued_run), coalesce(NEW.attempts, OLD.attempts),
        CASE TG_OP WHEN 'DELETE' THEN OLD.stop_requested ELSE NEW.stop_requested END
    );
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_logged AFTER INSERT OR UPDATE OF revision OR DELETE
ON tasks FOR EACH ROW EXECUTE FUNCTION log_change();

-- The log, as clients see it.
CREATE VIEW log AS
SELECT number, task_id, owner, json_build_object(
    'at', at, 'operations', operations, 'changed_by', changed_by, 'reason', reason,
    'loaded', loaded, 'revision', revision, 'run', run,
    'status', status, 'previous_status', previous_status
)::TEXT AS event
FROM events;
