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

# real parts under traffic: what the boards and alerts make of it, in target/proof/report.html; three to five minutes
proof:
    cargo build --locked
    deploy/proof/run

# everything that benches/README.md has figures of; about half an hour
bench:
    cargo bench --bench end_to_end
    cargo bench --bench forward
    cargo bench --bench stages
    cargo bench --bench collector
    cargo bench --bench scale
    WEIR_REAL_PARTS=1 cargo test --test instructions -- --nocapture
    benches/peers/run
