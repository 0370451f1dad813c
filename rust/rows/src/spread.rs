//! Divides rows among threads.

/// Numbers below which another thread takes longer to wake than to work.
const MIN_NUMBERS: usize = 1 << 17;

/// Rows of a part, of `rows` with `numbers` each, for at most `threads` threads.
pub fn rows_of_part(rows: usize, numbers: usize, threads: usize) -> usize {
    let useful = 1 + rows.saturating_mul(numbers) / MIN_NUMBERS;
    rows.div_ceil(threads.clamp(1, useful)).max(1)
}

/// Does the work of each part: in a thread for each, or all in the calling one where there is one part or no pool.
pub fn spread<T: Send>(parts: Vec<T>, work: impl Fn(T) + Sync) {
    if parts.len() < 2 || stategpt_threads::forked() {
        parts.into_iter().for_each(work);
        return;
    }
    let mut parts = parts.into_iter();
    let first = parts.next();
    let work = &work;
    rayon::in_place_scope(|scope| {
        parts.for_each(|part| scope.spawn(move |_| work(part)));
        first.into_iter().for_each(work);
    });
}
