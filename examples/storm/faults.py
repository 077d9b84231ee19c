#!/usr/bin/env python3
"""Builds one fault after the other into a copy of the service and of the stores, and storms: each must
be found. Exits with 1 if one was not.

examples/storm/faults.py [--times N] [NAME...]
"""
import argparse, os, pathlib, subprocess, sys

SERVICE, STORES = "examples/service", "examples/stores/src"
CLOCK = "(SELECT now FROM clock)"

# name: the engines to storm on, and edits of files: the text, and what it becomes.
FAULTS = {
    # The service.
    "start_checks_no_run": ("postgresql sqlite", [(f"{SERVICE}/src/worker.rs", "draft.check_run(Run::from_i64(message.run))?;", "")]),
    "result_checks_no_run": ("postgresql sqlite", [(f"{SERVICE}/src/worker.rs", "draft.check_run(run)?;\n            if row.is_stopped()", "if row.is_stopped()")]),
    "renewal_of_any_run": ("postgresql sqlite", [(f"{SERVICE}/sql/renew.sql", "AND run = $3", "AND $3 = $3")]),
    "sweep_of_living_runs": ("postgresql sqlite", [
        (f"{SERVICE}/src/worker.rs", "if row.is_lease_over { self.put_back(draft, row, note) } else { Ok(\"\") }", "self.put_back(draft, row, note)"),
        (f"{SERVICE}/src/store.rs", "FROM overdue LIMIT 100", "FROM tasks WHERE status = 'Processing' LIMIT 100")]),
    "message_acknowledged_first": ("postgresql sqlite", [(f"{SERVICE}/sql/receive.sql", f"due_at = {CLOCK} + 10000000", "due_at = NULL")]),
    "commit_compares_nothing": ("postgresql sqlite", [(f"{SERVICE}/sql/commit.sql", "AND revision = $3", "AND $3 = $3")]),
    "revert_to_the_update": ("postgresql sqlite", [(f"{SERVICE}/sql/commit.sql", "previous_payload = $9", "previous_payload = CASE WHEN $9 IS NOT NULL THEN $7 END")]),
    "cancel_of_processing": ("postgresql sqlite", [(f"{SERVICE}/src/routes.rs", "change(|draft, _, _| {\n        draft.cancel()?;", "change(|draft, _, _| {\n        _ = draft.retry();\n        draft.cancel()?;")]),
    "delete_of_processing": ("postgresql sqlite", [(f"{SERVICE}/src/routes.rs", "task.delete().map_err(TransitionError::from)?;", "_ = task.delete();")]),
    "lost_answer_told_as_no": ("postgresql", [(f"{SERVICE}/src/commit.rs", "is_open = true;", "return Ok(Outcome::Lost);")]),
    "update_lost_at_reopening": ("postgresql sqlite", [
        (f"{SERVICE}/src/database.rs", f"ON_{name}.run(&{pool}).await?;", f"""ON_{name}.run(&{pool}).await?;
            sqlx::query("UPDATE tasks SET status = previous_status, payload = previous_payload, previous_status = NULL,
                previous_payload = NULL, revision = revision + 1, ended_at = 1
                WHERE status = 'Starting' AND previous_status IS NOT NULL").execute(&{pool}).await?;""")
        for name, pool in [("POSTGRES", "shared")]] + [
        (f"{SERVICE}/src/database.rs", "return Ok([pool(8).await?", """sqlx::query("UPDATE tasks SET status = previous_status, payload = previous_payload, previous_status = NULL,
                previous_payload = NULL, revision = revision + 1, ended_at = 1
                WHERE status = 'Starting' AND previous_status IS NOT NULL").execute(&writers).await?;
        return Ok([pool(8).await?""")]),
    "expired_lease_not_counted": ("postgresql sqlite", [(f"{SERVICE}/sql/commit.sql", "ELSE attempts + 1 END", "ELSE attempts END")]),
    "stop_outlives_its_run": ("postgresql sqlite", [(f"{SERVICE}/sql/commit.sql", "stop_requested = CASE WHEN $10 THEN NULL", "stop_requested = CASE WHEN $10 THEN $6")]),
    # The store in etcd.
    "etcd_commit_compares_nothing": ("etcd", [(f"{STORES}/etcd.rs", "swap(db, is_at(id, draft.loaded()), puts", "swap(db, Compare::version(format!(\"task/{id}\"), CompareOp::Greater, 0), puts")]),
    "etcd_check_then_write": ("etcd", [(f"{STORES}/etcd.rs", "swap(db, is_at(id, draft.loaded()), puts", "if load(db, id).await?.is_none_or(|it| it.revision() != draft.loaded()) {\n        return Ok(false);\n    }\n    swap(db, Compare::version(format!(\"task/{id}\"), CompareOp::Greater, 0), puts")]),
    "etcd_reads_of_one_node": ("etcd", [(f"{STORES}/etcd.rs", "get(key, None)", "get(key, Some(etcd_client::GetOptions::new().with_serializable()))")]),
    "etcd_lost_answer_told_as_no": ("etcd", [(f"{STORES}/settle.rs", "is_first && matches!(answered, Ok(false))", "!matches!(answered, Ok(true))")]),
}

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--times", type=int, default=1, help="storms for each fault and engine")
options.add_argument("names", nargs="*", metavar="NAME", help="only these: " + ", ".join(FAULTS))
options = options.parse_args()

root = pathlib.Path(__file__).parents[2]
copy = root / "target/faults/copy"
tracked = subprocess.check_output(["git", "ls-files"], cwd=root, text=True).split("\n")[:-1]


def build(edits):
    for name in tracked:
        text, file = (root / name).read_bytes(), copy / name
        for edited, before, after in edits:
            if edited == name:
                assert text.decode().count(before) == 1, f"{name}: not once: {before}"
                text = text.replace(before.encode(), after.encode())
        if not file.exists() or file.read_bytes() != text:  # else nothing is built anew
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text)
    subprocess.run("cargo build --quiet --package task-service --package task-storm".split(), cwd=copy, check=True,
                   env={**os.environ, "CARGO_TARGET_DIR": str(root / "target/faults")})


missed = 0
for name in options.names or FAULTS:
    engines, edits = FAULTS[name]
    build(edits)
    for engine in engines.split():
        for _ in range(options.times):
            storm = subprocess.run([root / "target/faults/debug/storm", engine], text=True, capture_output=True)
            laws = [line.split(": ", 2)[2] for line in storm.stdout.split("\n") if ": broken " in line]
            missed += not laws
            print(f"{name} on {engine}:", "; ".join(laws) or f"NOT FOUND\n{storm.stdout}{storm.stderr}", flush=True)
sys.exit(missed > 0)
