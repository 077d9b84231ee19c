CREATE TABLE IF NOT EXISTS storm (
    number INTEGER PRIMARY KEY, at BIGINT, task_id TEXT, before TEXT, after TEXT
);

CREATE TRIGGER IF NOT EXISTS storm_create AFTER INSERT ON tasks FOR EACH ROW
BEGIN
    INSERT INTO storm (at, task_id, before, after) VALUES (
        (SELECT now FROM clock), NEW.task_id,
        NULL,
        json_object(
            'status', NEW.status, 'previous_status', NEW.previous_status, 'revision',
            NEW.revision, 'run', NEW.run, 'payload', NEW.payload, 'previous_payload',
            NEW.previous_payload, 'queued_run', NEW.queued_run, 'attempts', NEW.attempts,
            'stop_requested', NEW.stop_requested, 'lease_until', NEW.lease_until, 'due_at',
            NEW.due_at, 'deliveries', NEW.deliveries, 'operations', NEW.operations, 'changed_by',
            NEW.changed_by
        )
    );
END;

-- Renewals and deliveries are no changes.
CREATE TRIGGER IF NOT EXISTS storm_change AFTER UPDATE ON tasks FOR EACH ROW WHEN (
    OLD.status, OLD.previous_status, OLD.revision, OLD.run, OLD.payload,
    OLD.previous_payload, OLD.queued_run, OLD.attempts, OLD.stop_requested
) IS NOT (
    NEW.status, NEW.previous_status, NEW.revision, NEW.run, NEW.payload,
    NEW.previous_payload, NEW.queued_run, NEW.attempts, NEW.stop_requested
)
BEGIN
    INSERT INTO storm (at, task_id, before, after) VALUES (
        (SELECT now FROM clock), NEW.task_id,
        json_object(
            'status', OLD.status, 'previous_status', OLD.previous_status, 'revision',
            OLD.revision, 'run', OLD.run, 'payload', OLD.payload, 'previous_payload',
            OLD.previous_payload, 'queued_run', OLD.queued_run, 'attempts', OLD.attempts,
            'stop_requested', OLD.stop_requested, 'lease_until', OLD.lease_until, 'due_at',
            OLD.due_at, 'deliveries', OLD.deliveries, 'operations', OLD.operations, 'changed_by',
            OLD.changed_by
        ),
        json_object(
            'status', NEW.status, 'previous_status', NEW.previous_status, 'revision',
            NEW.revision, 'run', NEW.run, 'payload', NEW.payload, 'previous_payload',
            NEW.previous_payload, 'queued_run', NEW.queued_run, 'attempts', NEW.attempts,
            'stop_requested', NEW.stop_requested, 'lease_until', NEW.lease_until, 'due_at',
            NEW.due_at, 'deliveries', NEW.deliveries, 'operations', NEW.operations, 'changed_by',
            NEW.changed_by
        )
    );
END;

CREATE TRIGGER IF NOT EXISTS storm_delete AFTER DELETE ON tasks FOR EACH ROW
BEGIN
    INSERT INTO storm (at, task_id, before, after) VALUES (
        (SELECT now FROM clock), OLD.task_id,
        json_object(
            'status', OLD.status, 'previous_status', OLD.previous_status, 'revision',
            OLD.revision, 'run', OLD.run, 'payload', OLD.payload, 'previous_payload',
            OLD.previous_payload, 'queued_run', OLD.queued_run, 'attempts', OLD.attempts,
            'stop_requested', OLD.stop_requested, 'lease_until', OLD.lease_until, 'due_at',
            OLD.due_at, 'deliveries', OLD.deliveries, 'operations', OLD.operations, 'changed_by',
            OLD.changed_by
        ),
        NULL
    );
END;

-- A client is quick: one in three updates is cancelled and queued again when it is delivered.
CREATE TRIGGER IF NOT EXISTS storm_hurry AFTER UPDATE OF deliveries ON tasks FOR EACH ROW
BEGIN
    UPDATE tasks SET run = run + 1, revision = revision + 2, queued_run = run + 1, attempts = 0,
        stop_requested = NULL, deliveries = 0, payload = payload || ' ',
        due_at = (SELECT now FROM clock) + 1000000,
        operations = 'cancel, update', changed_by = 'hand'
    WHERE task_id = NEW.task_id AND deliveries = 1 AND revision % 3 = 0
        AND status = 'Starting' AND previous_status IS NOT NULL;
END;
