-- The first message that is due. It is hidden from others for ten seconds.
UPDATE tasks SET
    due_at = (SELECT now FROM clock) + 10000000,
    deliveries = deliveries + 1
WHERE task_id = (SELECT task_id FROM due LIMIT 1)
RETURNING task_id, owner, run, deliveries, file
