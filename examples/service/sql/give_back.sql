-- Gives a message back, to be due again; NULL: never.
UPDATE tasks SET due_at = (SELECT now FROM clock) + $4
WHERE task_id = $1 AND owner = $2 AND run = $3 AND status = 'Starting'
