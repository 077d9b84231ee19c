SELECT event FROM log WHERE task_id = $1 AND owner = $2 ORDER BY number
