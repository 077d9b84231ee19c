-- Times are microseconds since 1970.
CREATE TABLE tasks (
    task_id          TEXT   NOT NULL PRIMARY KEY,
    user_id          TEXT   NOT NULL,
    created_at       BIGINT NOT NULL,
    file_name        TEXT   NOT NULL,
    -- The task: two words and two numbers to decide by, and its payloads.
    status           TEXT   NOT NULL,
    revision         BIGINT NOT NULL,
    run              BIGINT NOT NULL,
    payload          TEXT   NOT NULL,
    previous_status  TEXT,
    previous_payload TEXT,
    -- The queue: oldest first; who has a message or a run has it until then.
    queued_at        BIGINT NOT NULL,
    leased_until     BIGINT NOT NULL,
    UNIQUE (user_id, created_at),
    CHECK ((previous_status IS NULL) = (previous_payload IS NULL))
);
CREATE INDEX tasks_queue ON tasks (queued_at) WHERE status IN ('Starting', 'Processing');

CREATE TABLE files (
    task_id TEXT  NOT NULL PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    content BYTEA NOT NULL
);

-- What happened, in JSON. It outlives its task.
CREATE TABLE events (
    number  BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id TEXT    NOT NULL,
    user_id TEXT    NOT NULL,
    event   TEXT    NOT NULL
);
CREATE INDEX events_task ON events (task_id, number);
