-- A message that somebody has is delivered again.
UPDATE tasks SET due_at = 0
WHERE task_id = (SELECT task_id FROM tasks WHERE status = 'Starting' AND deliveries > 0 LIMIT 1)
