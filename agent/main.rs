//! The `weir` program.

use std::process::ExitCode;

// The same on every target, so that what is measured is what is shipped: musl's allocator is slow, and glibc's keeps a heap
// for each thread, which cost twice the memory where batches go from one thread to another (docs/adr/0015).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir::cli::main()
}
