-- An owner's newest tasks, by the index `tasks_list`.
SELECT * FROM loads WHERE owner || '' = $1 ORDER BY created_at DESC LIMIT 100
