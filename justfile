# Each recipe is a command that can be typed as it stands.

# The core's tests.
test:
    cargo test --all-features

# All that must hold before a change lands.
gate:
    .ci/run

# What takes longer: mutants, fuzzing, the large model, the stores on their engines, storms.
nightly *steps:
    .ci/nightly {{steps}}

# Writes the tables, diagrams and stories that pages show, from the code.
figures:
    UPDATE_EXPECT=1 cargo test --all-features
    UPDATE_EXPECT=1 cargo test --package task-lifecycle-conformance --package task-service
    UPDATE_EXPECT=1 cargo test --release --package model

# Writes the public surface into tests/public-api.txt.
surface:
    .ci/public-api --write

# Formats everything.
format:
    cargo fmt --all
