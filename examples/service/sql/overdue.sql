SELECT task_id, owner FROM overdue LIMIT 100
