-- Finds nothing, if the table can be read.
SELECT revision FROM tasks WHERE task_id = '' AND owner = ''
