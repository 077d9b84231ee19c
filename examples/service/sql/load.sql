SELECT * FROM loads WHERE task_id = $1 AND owner = $2
