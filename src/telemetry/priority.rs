//! Threads that can wait: what they do is about calls that have ended.

/// Has threads that serve calls go before this one, where the system lets it say so; Linux does.
///
/// A thread that wakes takes the place of one that has run for a while: each batch would be written in the middle of
/// some call, with the caches that this was about to use.
pub(super) fn step_back() {
    // setpriority(2), "C library/kernel differences": on Linux a nice value is a thread's own.
    #[cfg(target_os = "linux")]
    {
        let this = Some(rustix::thread::gettid());
        let own = rustix::process::getpriority_process(this).unwrap_or_default();
        // To take a step forward is for the privileged alone, and not what is wanted of them either.
        let _ = rustix::process::setpriority_process(this, own.max(NICE));
    }
}

/// Of 19; what nobody has said a word about has 0.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_steps_back_alone_and_never_forward() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).expect("ours");
        let before = nice();
        let stepped = std::thread::spawn(move || {
            step_back();
            let once = nice();
            rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19).expect("further back");
            step_back();
            (once, nice())
        });
        assert_eq!(stepped.join().expect("no panic"), (before.max(NICE), 19));
        assert_eq!(nice(), before);
    }
}
