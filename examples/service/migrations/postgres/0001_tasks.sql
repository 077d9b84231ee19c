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

    -- The lease of the run: until when, and for how long it is taken and renewed.
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

    file             BYTEA NOT NULL -- the document; the last column, for hardly anybody reads it
);
-- Of an expression, or a planner without statistics may look for a task among all of its owner's.
CREATE INDEX tasks_list ON tasks ((owner || ''), created_at);
CREATE INDEX tasks_active ON tasks (place) WHERE ended_at IS NULL;

-- Whether it is one of the nine states, with a whole previous state or none, and with a lease exactly
-- while it is worked on, of that run. In one function, for every CHECK is read anew for each statement.
CREATE FUNCTION is_sound(task tasks) RETURNS BOOLEAN IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN task.status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')
        AND (task.previous_status IS NULL
             OR task.status IN ('Starting', 'Processing')
                AND task.previous_status IN ('Succeeded', 'Failed'))
        AND (task.previous_status IS NULL) = (task.previous_payload IS NULL)
        AND (task.status = 'Processing') = (task.lease_run IS NOT NULL)
        AND (task.lease_run IS NULL OR task.lease_run = task.run)
        AND (task.lease_run IS NULL) = (task.lease_until IS NULL)
        AND (task.lease_run IS NULL) = (task.lease_length IS NULL)
        AND (task.status IN ('Succeeded', 'Failed', 'Cancelled')) = (task.ended_at IS NOT NULL);
END $$;
ALTER TABLE tasks ADD CONSTRAINT sound CHECK (is_sound(tasks));

-- The one clock, which stands still in a statement; and the place of what is queued now.
CREATE FUNCTION micros() RETURNS BIGINT STABLE LANGUAGE sql AS
'SELECT (date_part(''epoch'', statement_timestamp()) * 1000000)::BIGINT';
CREATE VIEW clock AS SELECT micros() AS now, micros() AS place;

-- The messages that are due, in their order. One that is not due for more than a minute is so by a
-- clock that was set back.
CREATE VIEW due AS
SELECT task_id FROM tasks
WHERE ended_at IS NULL AND status = 'Starting'
    AND due_at NOT BETWEEN (SELECT now FROM clock) + 1 AND (SELECT now FROM clock) + 60000000
ORDER BY place FOR UPDATE SKIP LOCKED;

-- What is loaded. A lease is over when its end has passed, and when it ends further ahead than it is
-- long, for the clock was set back then.
CREATE VIEW loads AS
SELECT task_id, owner, created_at, status, previous_status, revision, run, payload,
    previous_payload, queued_run, attempts, stop_requested, ended_at, lease_until,
    CASE WHEN lease_until IS NULL THEN FALSE ELSE lease_until NOT BETWEEN
        micros() AND micros() + lease_length END AS is_lease_over
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
    number          BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    at              BIGINT NOT NULL,
    task_id         TEXT   NOT NULL,
    owner           TEXT   NOT NULL,
    operations      TEXT   NOT NULL, -- as in `tasks`; `delete`
    changed_by      TEXT   NOT NULL, -- as in `tasks`; of a delete: `owner`
    reason          TEXT,
    loaded          BIGINT,          -- the revision that it was made from; NULL: created
    revision        BIGINT,          -- and that it led to; NULL: deleted
    run             BIGINT NOT NULL,
    status          TEXT,            -- the state that it led to; NULL: deleted
    previous_status TEXT,
    -- The current payload after it, to the letter, unless it is the same as before. So the last one
    -- that is not NULL is the payload; and a revert is exact if it is the one from before the update.
    payload         TEXT
);
CREATE INDEX events_task ON events (task_id, number);

CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A change by hand is counted, too: whoever loaded the task before must see it.
    IF TG_OP = 'UPDATE' AND NEW.revision = OLD.revision THEN
        RAISE EXCEPTION 'a change of a task must change its revision';
    END IF;
    -- OLD is NULL for an insert, and NEW for a delete.
    INSERT INTO events (at, task_id, owner, operations, changed_by, reason, loaded, revision, run,
        status, previous_status, payload)
    VALUES (
        micros(), coalesce(NEW.task_id, OLD.task_id), coalesce(NEW.owner, OLD.owner),
        coalesce(NEW.operations, 'delete'), coalesce(NEW.changed_by, 'owner'), NEW.reason,
        OLD.revision, NEW.revision, coalesce(NEW.run, OLD.run), NEW.status, NEW.previous_status,
        CASE WHEN NEW.payload IS DISTINCT FROM OLD.payload THEN NEW.payload END
    );
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tasks_logged BEFORE INSERT OR DELETE OR UPDATE
OF status, previous_status, revision, run, payload, previous_payload
ON tasks FOR EACH ROW EXECUTE FUNCTION log_change();

-- The log, as clients see it.
CREATE VIEW log AS
SELECT number, task_id, owner, json_build_object(
    'at', at, 'operations', operations, 'changed_by', changed_by, 'reason', reason,
    'loaded', loaded, 'revision', revision, 'run', run,
    'status', status, 'previous_status', previous_status
)::TEXT AS event
FROM events;
