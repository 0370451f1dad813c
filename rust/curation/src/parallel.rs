//! Work on consecutive texts in threads that live as long as the call; the result is in the order of the texts.

use std::thread::Builder;

/// Applies `work` to up to `threads` parts of about equally many bytes, and joins what it returns.
pub(crate) fn in_parts<T: Send>(
    texts: &[&str],
    threads: usize,
    work: impl Fn(&[&str]) -> Vec<T> + Sync,
) -> Vec<T> {
    let parts = split(texts, threads.max(1));
    let Some((last, others)) = parts.split_last() else {
        return Vec::new();
    };
    let work = &work;
    std::thread::scope(|scope| {
        let mut started = Vec::with_capacity(others.len());
        for &part in others {
            started.push(Builder::new().spawn_scoped(scope, move || work(part)));
        }
        let of_last = work(last);
        let mut joined = Vec::with_capacity(texts.len());
        for (thread, part) in started.into_iter().zip(others) {
            // Where the system gives no thread, this one does the work.
            let done = thread.ok().and_then(|thread| thread.join().ok());
            joined.extend(done.unwrap_or_else(|| work(part)));
        }
        joined.extend(of_last);
        joined
    })
}

/// Up to `count` parts of consecutive texts, of about equally many bytes.
fn split<'a, 't>(texts: &'a [&'t str], count: usize) -> Vec<&'a [&'t str]> {
    let total: usize = texts.iter().map(|text| text.len() + 1).sum();
    let wanted = total.div_ceil(count);
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, text) in texts.iter().enumerate() {
        bytes += text.len() + 1;
        if bytes >= wanted {
            parts.push(&texts[start..=at]);
            (start, bytes) = (at + 1, 0);
        }
    }
    if start < texts.len() {
        parts.push(&texts[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_number_of_threads_gives_the_same(lengths in prop::collection::vec(0_usize..50, 0..40), threads in 0_usize..9) {
            let texts: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let found = in_parts(&texts, threads, |part| part.iter().map(|text| text.len()).collect());
            prop_assert_eq!(found, lengths);
            prop_assert!(split(&texts, threads.max(1)).len() <= threads.max(1));
        }
    }
}
