CREATE TABLE storm (
    number BIGSERIAL PRIMARY KEY, at BIGINT, task_id TEXT, before TEXT, after TEXT
);

CREATE FUNCTION storm_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Renewals and deliveries are no changes.
    IF TG_OP <> 'UPDATE' OR (to_jsonb(OLD) - '{file,lease_until,lease_length,due_at,deliveries}'::TEXT[])
        <> (to_jsonb(NEW) - '{file,lease_until,lease_length,due_at,deliveries}'::TEXT[])
    THEN
        INSERT INTO storm (at, task_id, before, after) VALUES (
            (SELECT now FROM clock), coalesce(NEW.task_id, OLD.task_id),
            to_jsonb(OLD) - 'file', to_jsonb(NEW) - 'file'
        );
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER storm_keep AFTER INSERT OR UPDATE OR DELETE ON tasks
FOR EACH ROW EXECUTE FUNCTION storm_keep();

-- A client is quick: one in three updates is cancelled and queued again when it is delivered.
CREATE FUNCTION storm_hurry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET run = run + 1, revision = revision + 2, queued_run = run + 1, attempts = 0,
        stop_requested = NULL, deliveries = 0, payload = payload || ' ',
        due_at = (SELECT now FROM clock) + 1000000,
        operations = 'cancel, update', changed_by = 'hand'
    WHERE task_id = NEW.task_id AND deliveries = 1 AND revision % 3 = 0
        AND status = 'Starting' AND previous_status IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER storm_hurry AFTER UPDATE OF deliveries ON tasks
FOR EACH ROW EXECUTE FUNCTION storm_hurry();
