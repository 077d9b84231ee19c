DELETE FROM tasks WHERE task_id = $1 AND owner = $2 AND revision = $3
