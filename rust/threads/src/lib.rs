//! Whether this process may use the thread pool: the threads of a pool are not in a process that was forked.
//!
//! A call that waits for them would wait forever. So the first process is noted when the module is loaded, before anything
//! can be forked from it, and every other one computes with the calling thread.
//!
//! # Usage
//! ```
//! stategpt_threads::note_process();
//! assert!(!stategpt_threads::forked());
//! ```

use std::sync::OnceLock;

/// Records which process this is, before it can be forked.
pub fn note_process() {
    forked();
}

/// Whether this process is a fork of the one that was noted first.
pub fn forked() -> bool {
    static FIRST: OnceLock<u32> = OnceLock::new();
    let process = std::process::id();
    *FIRST.get_or_init(|| process) != process
}
