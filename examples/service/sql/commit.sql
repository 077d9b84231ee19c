-- Stores what was decided on a draft, and what changes beside the task.
--
-- $1 task, $2 owner, $3 the loaded revision
-- $4 to $9 the task
-- $10 whether a client queued it: the run is another, and it was not `Processing`
-- $11 whether it is queued, in a run of which nobody has a message
-- $12 whether a run is taken: whoever commits this works on it; $13 for how long
-- $14 the lease that was found to be over, which counts as an attempt
-- $15 the run that is asked to stop
-- $16 to $18 for the log
UPDATE tasks SET
    status = $4,
    revision = $5,
    run = $6,
    payload = $7,
    previous_status = $8,
    previous_payload = $9,

    queued_run = CASE WHEN $10 THEN $6 ELSE queued_run END,
    place = CASE WHEN $10 THEN clock.place ELSE tasks.place END,
    attempts = CASE WHEN $10 THEN 0 WHEN $14 IS NULL THEN attempts ELSE attempts + 1 END,
    stop_requested = CASE WHEN $10 THEN NULL ELSE coalesce($15, stop_requested) END,

    due_at = CASE WHEN $11 THEN now ELSE due_at END,
    deliveries = CASE WHEN $11 THEN 0 ELSE deliveries END,

    -- The lease is taken with the run, kept by an edit, and cleared at the end of the run.
    lease_run = CASE WHEN $4 = 'Processing' THEN $6 END,
    lease_until = CASE WHEN $12 THEN now + $13 WHEN $4 = 'Processing' THEN lease_until END,
    lease_length = CASE WHEN $12 THEN $13 WHEN $4 = 'Processing' THEN lease_length END,

    ended_at = CASE WHEN $4 NOT IN ('Starting', 'Processing') THEN coalesce(ended_at, now) END,

    operations = $16,
    changed_by = $17,
    reason = $18
FROM clock
WHERE task_id = $1 AND owner = $2 AND revision = $3
    -- A renewal leaves the revision alone.
    AND ($14 IS NULL OR lease_until = $14)
