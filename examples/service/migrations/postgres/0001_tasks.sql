-- Times are microseconds since 1970.
CREATE TABLE tasks (
    task_id             TEXT   NOT NULL PRIMARY KEY,
    user_id             TEXT   NOT NULL,
    created_at          BIGINT NOT NULL,
    file_name           TEXT   NOT NULL,
    -- The task: two words and two numbers to decide by, and its payloads.
    status              TEXT   NOT NULL,
    revision            BIGINT NOT NULL,
    run                 BIGINT NOT NULL,
    payload             TEXT   NOT NULL,
    previous_status     TEXT,
    previous_payload    TEXT,
    -- Beside the task, for it must not revert: when it was completed. And the seconds that it is
    -- kept from then on, which go with each payload.
    ended_at            BIGINT,
    expires_in          BIGINT,
    previous_expires_in BIGINT,
    -- The queue: oldest first; who has a message or a run has it until then. The run at which a
    -- client queued it tells how many attempts there were.
    queued_at           BIGINT NOT NULL,
    queued_run          BIGINT NOT NULL,
    leased_until        BIGINT NOT NULL,
    UNIQUE (user_id, created_at),
    CHECK ((previous_status IS NULL) = (previous_payload IS NULL)),
    -- The nine states.
    CHECK (status IN ('Starting', 'Processing', 'Succeeded', 'Failed', 'Cancelled')),
    CHECK (previous_status IS NULL
           OR (status IN ('Starting', 'Processing') AND previous_status IN ('Succeeded', 'Failed')))
);
CREATE INDEX tasks_list ON tasks (user_id, status, created_at);
CREATE INDEX tasks_queue ON tasks (queued_at) WHERE status IN ('Starting', 'Processing');

-- By hand as well, a change is counted: whoever loaded the task before must see it.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a change of a task must change its revision';
END $$;
CREATE TRIGGER tasks_revision BEFORE UPDATE OF status, run, payload, previous_status, previous_payload
ON tasks FOR EACH ROW WHEN (NEW.revision = OLD.revision) EXECUTE FUNCTION refuse();

-- Wakes workers that wait.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY queued;
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_queued AFTER INSERT OR UPDATE OF status ON tasks
FOR EACH ROW WHEN (NEW.status = 'Starting') EXECUTE FUNCTION tell();

-- The one clock; and the place of what is queued now.
CREATE VIEW clock AS
SELECT now, now AS place
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT AS now) AS clock;

-- Without what has expired.
CREATE VIEW visible AS
SELECT *, octet_length(payload) AS size FROM tasks
WHERE (ended_at + expires_in * 1000000 > (SELECT now FROM clock)) IS NOT FALSE;

CREATE TABLE files (
    task_id TEXT  NOT NULL PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    content BYTEA NOT NULL
);

-- What happened, in JSON. It outlives its task, for as long as the program is told to keep it.
CREATE TABLE events (
    number  BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id TEXT    NOT NULL,
    user_id TEXT    NOT NULL,
    event   TEXT    NOT NULL,
    at      BIGINT  NOT NULL
);
CREATE INDEX events_task ON events (task_id, number);
CREATE INDEX events_at ON events (at);

-- Requests that say by a name of the client's that they are the same, for a day.
CREATE TABLE requests (
    user_id     TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    task_id     TEXT    NOT NULL,
    created_at  BIGINT  NOT NULL,
    at          BIGINT  NOT NULL,
    PRIMARY KEY (user_id, name)
);
CREATE INDEX requests_at ON requests (at);
