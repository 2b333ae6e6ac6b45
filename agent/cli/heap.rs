//! The allocator, told to be as frugal as the agent is.
#![allow(unsafe_code)]

/// Half of the CPU that forwarding costs with musl's own allocator (docs/adr/0015).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One heap for all threads. By default glibc gives each thread a heap of its own; batches are made by one thread and let
/// go by another, so the heaps grow without being used (docs/adr/0015). The hot path allocates nothing, so nobody waits for
/// another thread here. To be called before there are threads.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes two numbers and changes a setting of the allocator; glibc allows it at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
