-- The lease of a living worker is cut short.
UPDATE tasks SET lease_until = (SELECT now FROM clock) - 1
WHERE task_id = (
    SELECT task_id FROM tasks
    WHERE status = 'Processing' AND changed_by <> 'worker hung'
        AND lease_until > (SELECT now FROM clock)
    LIMIT 1
);
-- Another takes its run, and does nothing more.
UPDATE tasks SET run = run + 1, revision = revision + 2, attempts = attempts + 1,
    lease_run = run + 1, lease_until = (SELECT now FROM clock) + lease_length,
    operations = 'retry, start', changed_by = 'worker hung'
WHERE status = 'Processing' AND lease_until < (SELECT now FROM clock)
    AND attempts < 2 AND stop_requested IS NULL
