//! The runtime beside the workers: what is read again, fetched or sent while nobody waits for it.

use tokio::runtime::{Handle, Runtime};

/// One thread with a runtime, as long as the gateway lives.
#[derive(Debug)]
pub(super) struct Background(Option<Runtime>);

impl Background {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("transom-background")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("the runtime is there until the drop").handle()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Waiting for its tasks would panic on a thread that serves, and they have nobody to serve.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
