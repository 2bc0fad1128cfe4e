//! Threads that can wait: what they do is about calls that have ended.

/// Has threads that serve calls go before this one, where the system lets it say so.
///
/// A thread that wakes takes the place of one that has run for a while: each batch would be written in the middle of
/// some call, with the caches that this was about to use.
pub(super) fn step_back() {
    /// Of 19; what has no word in it has 0.
    #[cfg(target_os = "linux")]
    const NICE: i32 = 10;
    // setpriority(2), "C library/kernel differences": on Linux a nice value is a thread's own.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}
