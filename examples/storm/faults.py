#!/usr/bin/env python3
"""Builds one fault after the other into a copy of the service and of the stores, by edits of their text, and storms:
each must be found.

examples/storm/faults.py [--times N] [NAME...]
"""
import argparse, os, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "target/faults"
BOTH = "postgresql sqlite"

LOSE = """.await?;
sqlx::query("UPDATE tasks SET status = previous_status, payload = previous_payload, previous_status = NULL,
    previous_payload = NULL, revision = revision + 1, ended_at = 1
    WHERE status = 'Starting' AND previous_status IS NOT NULL").execute(&{}).await?;"""
IF_THERE = """swap(db, Compare::version(format!("task/{id}"), CompareOp::Greater, 0), puts"""

# Name: the engines that find it, and the edits: a text that is there once, and what it becomes.
FAULTS = {
    "start_checks_no_run": (BOTH, [("draft.check_run(Run::from_i64(message.run))?;", "")]),
    "result_checks_no_run": (BOTH, [("draft.check_run(run)?;\n            if row.is_stopped()", "if row.is_stopped()")]),
    "renewal_of_any_run": (BOTH, [("AND run = $3 AND status = 'Processing'", "AND $3 = $3 AND status = 'Processing'")]),
    "sweep_of_living_runs": (BOTH, [
        ("if row.is_lease_over { self.put_back", "if true { self.put_back"),
        ("FROM overdue LIMIT 100", "FROM tasks WHERE status = 'Processing' LIMIT 100"),
    ]),
    "message_acknowledged_first": (BOTH, [("due_at = (SELECT now FROM clock) + 10000000", "due_at = NULL")]),
    "commit_compares_nothing": (BOTH, [("AND revision = $3\n    -- A renewal", "AND $3 = $3\n    -- A renewal")]),
    "revert_to_the_update": (BOTH, [
        ("previous_payload = $9", "previous_payload = CASE WHEN $9 IS NOT NULL THEN $7 END"),
    ]),
    "cancel_of_processing": (BOTH, [
        ("change(|draft, _, _| {\n        draft.cancel()", "change(|draft, _, _| {\n_ = draft.retry();\ndraft.cancel()"),
    ]),
    "delete_of_processing": (BOTH, [("task.delete().map_err(TransitionError::from)?;", "_ = task.delete();")]),
    "lost_answer_told_as_no": ("postgresql", [("is_open = true;", "return Ok(None);")]),
    "update_lost_at_reopening": (BOTH, [
        ("ON_POSTGRES.run(&shared).await?;", "ON_POSTGRES.run(&shared)" + LOSE.format("shared")),
        ("let writers = pool(1).await?;", "let writers = pool(1).await?;\nON_SQLITE.run(&writers)" + LOSE.format("writers")),
    ]),
    "expired_lease_not_counted": (BOTH, [("ELSE attempts + 1 END", "ELSE attempts END")]),
    "stop_outlives_its_run": (BOTH, [
        ("stop_requested = CASE WHEN $10 THEN NULL", "stop_requested = CASE WHEN $10 THEN $6"),
    ]),
    "etcd_commit_compares_nothing": ("etcd", [("swap(db, is_at(id, draft.loaded()), puts", IF_THERE)]),
    "etcd_check_then_write": ("etcd", [
        ("swap(db, is_at(id, draft.loaded()), puts",
         "if load(db, id).await?.is_none_or(|it| it.revision() != draft.loaded()) {\nreturn Ok(false);\n}\n" + IF_THERE),
    ]),
    "etcd_reads_of_one_node": ("etcd", [
        ("get(key, None)", "get(key, Some(etcd_client::GetOptions::new().with_serializable()))"),
    ]),
    "etcd_lost_answer_told_as_no": ("etcd", [("is_first && matches!(answered, Ok(false))", "!matches!(answered, Ok(true))")]),
}


def build(edits):
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    texts = {name: (ROOT / name).read_bytes() for name in files}
    edited = [name for name in files if name.startswith(("examples/service/s", "examples/stores/src"))]
    for before, after in edits:
        found = [name for name in edited for _ in range(texts[name].count(before.encode()))]
        assert len(found) == 1, f"it is in {found}: {before}"
        texts[found[0]] = texts[found[0]].replace(before.encode(), after.encode())
    for name, text in texts.items():
        file = TARGET / "copy" / name
        if not file.exists() or file.read_bytes() != text:  # else nothing is built anew
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text)
    command = "cargo build --quiet --locked --package task-service --package task-storm".split()
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    built = subprocess.run(command, cwd=TARGET / "copy", env=environment, text=True, capture_output=True)
    assert built.returncode == 0, built.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1, help="storms for each fault and engine")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these: " + ", ".join(FAULTS))
    options, missed = parser.parse_args(), 0
    for name in options.names or FAULTS:
        engines, edits = FAULTS[name]
        build(edits)
        for engine in engines.split() * options.times:
            storm = subprocess.run([TARGET / "debug/storm", engine], text=True, capture_output=True)
            laws = [line.split(": ", 2)[2] for line in storm.stdout.splitlines() if ": broken " in line]
            missed += not laws
            print(f"{name}, {engine}:", "; ".join(laws) or f"NOT FOUND\n{storm.stdout}{storm.stderr}", flush=True)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
