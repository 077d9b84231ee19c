-- Renews the lease of a run, unless the run is over or is to stop.
UPDATE tasks SET lease_until = (SELECT now FROM clock) + $4
WHERE task_id = $1 AND owner = $2 AND run = $3 AND status = 'Processing' AND stop_requested IS NULL
