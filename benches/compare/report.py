#!/usr/bin/env python3
"""Measures everything and writes the regions of benches/README.md. Needs valgrind.

By hand and not by `gungraun`, which starts valgrind anew for each of 2,200 counts (0.4 s; this takes 6 s for all), and
counts what the allocator does.
"""
import os, re, resource, shutil, statistics, subprocess
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "benches/README.md"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
OURS, HAND = "task-lifecycle", ["by hand, a byte", "by hand, obvious"]
PAYLOADS = ["`()`", "`u64`", "struct", "`Box`", "`Arc`"]
KEPT = "LLVM looks at the state again after the drop of the record"
PROFILES = {"measure": "fat LTO", "release": "Cargo's default"}


def run(*command, **options):
    return subprocess.run([str(it) for it in command], check=True, text=True, capture_output=True, **options).stdout


def instructions(profile):
    """Outside of shared libraries: what the C library does counts as the one call."""
    total, inside, repeated = 0, True, False
    for line in profile.splitlines():
        if line.startswith("ob="):
            inside = ".so" not in line
        elif line.startswith("calls="):
            repeated = True  # the next line says again what the callee did
        elif line[:1] and line[0] in "+-*0123456789":
            total, repeated = total + (0 if repeated or not inside else int(line.split(" ")[1])), False
    return total


def count(program):
    """Instructions by key, in the order of the calls."""
    profiles = TARGET / "profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    profiles.mkdir()
    keys = run("valgrind", "--quiet", "--tool=callgrind", "--compress-strings=no", "--collect-atstart=no",
               "--toggle-collect=*measured_*", "--dump-before=*end_of_profile*",
               f"--callgrind-out-file={profiles}/profile", program, "counts")
    counts = defaultdict(list)
    for part, key in enumerate(keys.splitlines(), 1):
        counted = instructions((profiles / f"profile.{part}").read_text())
        assert counted, f"{key}: nothing was counted"
        counts[tuple(key.split("\t"))].append(counted)
    return counts


def build_dependent(dependencies):
    """Seconds of CPU for a program of one line, from nothing."""
    place = TARGET / "dependent"
    shutil.rmtree(place, ignore_errors=True)
    (place / "src").mkdir(parents=True)
    (place / "src/main.rs").write_text("fn main() {}\n")
    shutil.copy(ROOT / "Cargo.lock", place)
    (place / "Cargo.toml").write_text(
        '[package]\nname = "dependent"\nedition = "2024"\n[workspace]\n[dependencies]\n' + "\n".join(dependencies))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run("cargo", "build", "--offline", "--target-dir", place / "target", cwd=place)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def bold(name):
    return f"**{name}**" if name == OURS else name


class Counts:
    def __init__(self, counts):
        self.counts = counts
        self.names = list(dict.fromkeys(key[2] for key in counts if len(key) == 4))
        self.peers = [name for name in self.names if name not in [OURS, *HAND]]

    def of(self, shape, how, name, payloads=PAYLOADS):
        return sum(sum(self.counts[shape, how, name, it]) for it in payloads)

    def best(self, names, shape, how, payloads=PAYLOADS):
        return min((self.of(shape, how, name, payloads), name) for name in names)

    def alone(self, key):
        return sum(self.counts[key,])

    def table(self, payloads):
        cells = lambda name: [f"{self.of(shape, 'direct', name, payloads)} / {self.of(shape, 'wrapped', name, payloads)}"
                              for shape in "EBWRL"]
        return table(["", *"EBWRL"], [[bold(name), *cells(name)] for name in self.names])

    def tables(self):
        parts = [f"All payloads:\n\n{self.table(PAYLOADS)}"]
        parts += [f"{payload}:\n\n{self.table([payload])}" for payload in PAYLOADS]
        return "\n\n".join(parts)


def summary(counts, times, cold):
    """Every row: what, the crate, best peer, best by hand, and a reason where it is above its goal."""
    rows = []

    def row(what, ours, peer, hand, reached, reason=""):
        rows.append([what, f"**{ours}**", peer, hand, "" if reached else REASONS.get(what, "above the goal")])

    for profile, title in PROFILES.items():
        it = counts[profile]
        for shape in "EBWRL":
            for how in ["direct", "wrapped"]:
                ours, peer, hand = it.of(shape, how, OURS), it.best(it.peers, shape, how), it.best(HAND, shape, how)
                reached = ours <= peer[0] + (3 if profile == "measure" else 0) or (profile, shape) in FREE
                if shape == "L" and profile == "measure":
                    reached &= all(it.of(shape, how, OURS, [p]) <= 1.1 * it.best(HAND, shape, how, [p])[0] for p in PAYLOADS)
                row(f"{shape}, {how}, {title}", ours, f"{peer[0]} ({peer[1]})", f"{hand[0]} ({hand[1][9:]})", reached)
    it = counts["measure"]
    draft = sum(sum(it.counts["draft", p]) for p in PAYLOADS)
    row("E on a `Draft`", draft, "", f"{it.of('E', 'direct', OURS)} (on the task)", draft <= it.of("E", "direct", OURS) + 3)
    for how in ["by value", "in place"]:
        pairs = zip(it.counts[how,], it.counts[f"{how}, table",])
        reached = all(ours <= hand + 1 for ours, hand in pairs)
        row(f"three `State::apply(Cancel)`, {how}", it.alone(how), "", f"{it.alone(f'{how}, table')} (table)", reached)
    for what in ["read a new task", "read an updating task", "write a new task", "write an updating task"]:
        ours, hand = it.alone(what), it.alone(f"{what}, derive")
        row(f"{what}, JSON", ours, "", f"{hand} (derive)", ours <= 1.02 * hand)
    for profile, title in PROFILES.items():
        column = {key: times[profile]["column", key] for key in ["always", "branch", "table"]}
        row(f"a column of 1,000,000 states, {title}", f"{column['always']:.1f} ×", "",
            f"{column['table']:.1f} × (table)", column["always"] <= 3)
        row(f"the same with a branch, {title}", f"{column['branch']:.0f} ×", "", "", True)
    for payload in PAYLOADS:
        best = lambda names: min((times["measure"]["bulk", name, payload], name) for name in names)
        peer, hand = best(it.peers), best(HAND)
        ours = times["measure"]["bulk", OURS, payload]  # against itself: how far the measure is off
        row(f"10,000 tasks, {payload}", f"{ours:.2f} ×", f"{peer[0]:.2f} × ({peer[1]})",
            f"{hand[0]:.2f} × ({hand[1][9:]})", ours <= 1.02 * peer[0])
    row("cold build of a dependent", f"{cold:.2f} ×", "", "1.00 × (serde + thiserror + strum)", cold <= 1.1)
    return table(["", "the crate", "best peer", "by hand", ""], rows)


FREE = [("release", "B"), ("release", "W"), ("release", "R")]  # shown, and no goal
REASONS = {
    "B, direct, fat LTO": KEPT,
    "B, wrapped, fat LTO": KEPT,
    "W, wrapped, fat LTO": "the new revision is kept in a register and stored twice",
    "three `State::apply(Cancel)`, by value": "a table of ready answers is one load; this puts two bytes together",
    **{f"10,000 tasks, {payload}": "as in B; what lies within 0.05 is noise" for payload in PAYLOADS},
}


def bulk(times):
    names = list(dict.fromkeys(key[1] for key in times["measure"] if key[0] == "bulk"))
    cell = lambda name, payload: " / ".join(f"{times[profile]['bulk', name, payload]:.2f}" for profile in PROFILES)
    return table(["", *PAYLOADS], [[bold(name), *(cell(name, it) for it in PAYLOADS)] for name in names])


def growth(times):
    sizes = ["10000", "100000", "1000000"]
    cells = lambda payload: [f"{times['measure']['growth', payload, it]:.2f}" for it in sizes]
    return table(["", *(f"{int(it):,}" for it in sizes)], [[payload, *cells(payload)] for payload in PAYLOADS])


def main():
    counts, times = {}, {}
    for profile in PROFILES:
        run("cargo", "build", "--quiet", "--locked", "--package", "compare", "--profile", profile, cwd=ROOT)
    run(TARGET / "measure/compare")  # all do the same work
    for profile in PROFILES:
        program = TARGET / profile / "compare"
        counts[profile] = Counts(count(program))
        lines = [line.split("\t") for line in run(program, "times").splitlines()]
        times[profile] = {tuple(key): float(figure) for *key, figure in lines}
    lock = (ROOT / "Cargo.lock").read_text()
    version = lambda name: re.search(f'name = "{name}"\nversion = "(.*)"', lock)[1]
    derives = [f'{it} = {{ version = "{version(it)}", default-features = false{more} }}' for it, more in
               [("serde", ', features = ["derive"]'), ("strum", ', features = ["derive"]'), ("thiserror", "")]]
    cold = statistics.median(build_dependent([f'task-lifecycle = {{ path = "{ROOT}" }}']) / build_dependent(derives)
                             for _ in range(3))
    regions = {
        "summary": summary(counts, times, cold),
        "run": f"{run('rustc', '--version').strip()}; " + ", ".join(f"{it} {version(it)}" for it in counts["measure"].peers) + ".",
        "fat LTO": counts["measure"].tables(),
        "default": counts["release"].tables(),
        "bulk": bulk(times),
        "growth": growth(times),
    }
    page = PAGE.read_text()
    for name, text in regions.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, rest = page.split(start)
        page = head + start + "\n" + text + "\n\n" + end + rest.split(end)[1]
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
