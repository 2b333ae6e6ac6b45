# `just` lists these.
default:
    @just --list --unsorted

# everything that has to hold; flags as for tests/run
test *flags:
    tests/run {{ flags }}

# formats, lints and tests that need nothing but Rust
check:
    tests/run --quick

fmt:
    cargo fmt

# plays real logs through an agent, here in the terminal
demo *flags:
    cargo run --release -- demo {{ flags }}
