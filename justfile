# Short names for the commands of the README and of CI.

default:
    @just --list

# Compile everything
build:
    cargo build

# The test command
test:
    cargo test --workspace

# Format check and lints, warnings denied
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# What has to hold before a change is merged, on flex or another backend
ci backend="flex":
    .ci/run {{ backend }}

# All benchmarks, with the profile that tests and runs use
bench:
    cargo bench --workspace --bench '*' --profile dev

# The documentation of our crates
docs:
    cargo doc --workspace --no-deps --open

# Licences, advisories, sources of the dependencies
deny:
    cargo deny check
