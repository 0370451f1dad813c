//! Threads that live as long as one call.

/// The number of threads for `jobs` jobs: at most `threads`, or as many as there are cores.
pub fn workers(jobs: usize, threads: Option<usize>) -> usize {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    threads.unwrap_or_else(available).clamp(1, jobs.max(1))
}

/// Runs `worker` on `threads` threads, this one among them.
pub fn on_workers(threads: usize, worker: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // If the system does not grant a thread, the others take its jobs.
            let _ = std::thread::Builder::new().spawn_scoped(scope, &worker);
        }
        worker();
    });
}
