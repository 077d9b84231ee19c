-- Stores a new task and its document, which queues it.
INSERT INTO tasks (
    task_id, owner, created_at, status, revision, run, payload,
    queued_run, attempts, place, due_at, deliveries, operations, changed_by, file
)
SELECT $1, $2, now, $3, $4, $5, $6, $5, 0, place, now, 0, 'create', $7, $8
FROM clock
RETURNING created_at
