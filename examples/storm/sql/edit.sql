-- Somebody edits a task by hand.
UPDATE tasks SET payload = payload || ' ', revision = revision + 1,
    operations = 'edit', changed_by = 'hand'
WHERE task_id = (SELECT task_id FROM tasks ORDER BY random() LIMIT 1)
