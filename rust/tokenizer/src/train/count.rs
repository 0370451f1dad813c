//! How often each piece occurs.

use super::Documents;
use crate::batch::{lines, on_threads};
use crate::cutter::Cutter;
use crate::error::Result;
use crate::key::ShortKey;
use rustc_hash::FxHashMap;

/// Distinct pieces and their counts, in 64 bits: a corpus of terabytes does not overflow them.
#[derive(Clone, Default)]
pub struct PieceCounts {
    /// Pieces of at most [`ShortKey::MOST`] bytes, nearly all of them.
    short: FxHashMap<ShortKey, u64>,
    long: FxHashMap<Box<[u8]>, u64>,
}

impl PieceCounts {
    /// Whether nothing was counted.
    fn is_empty(&self) -> bool {
        self.short.is_empty() && self.long.is_empty()
    }

    /// Bytes of all distinct pieces.
    pub fn bytes(&self) -> u64 {
        let short: usize = self.short.keys().map(ShortKey::len).sum();
        let long: usize = self.long.keys().map(|piece| piece.len()).sum();
        (short + long) as u64
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (key, count) in other.short {
            *self.short.entry(key).or_insert(0) += count;
        }
        for (piece, count) in other.long {
            *self.long.entry(piece).or_insert(0) += count;
        }
    }

    /// Calls `piece(bytes, count)` for each piece, in an order that depends on nothing but the pieces.
    pub fn for_each_sorted(&self, mut piece: impl FnMut(&[u8], u64)) {
        let mut short: Vec<([u8; 16], u64)> = self
            .short
            .iter()
            .map(|(key, &count)| (key.bytes(), count))
            .collect();
        short.sort_unstable();
        for (bytes, count) in &short {
            piece(&bytes[..usize::from(bytes[15])], *count);
        }
        let mut long: Vec<_> = self.long.iter().collect();
        long.sort_unstable();
        long.into_iter()
            .for_each(|(bytes, &count)| piece(bytes, count));
    }

    fn add(&mut self, text: &[u8], start: usize, end: usize) {
        if end - start <= ShortKey::MOST {
            *self
                .short
                .entry(ShortKey::of(text, start, end))
                .or_insert(0) += 1;
        } else if let Some(count) = self.long.get_mut(&text[start..end]) {
            *count += 1;
        } else {
            self.long.insert(text[start..end].into(), 1);
        }
    }
}

/// Counts the pieces of `documents`, each thread a stretch of them.
///
/// # Errors
/// As [`Cutter::for_each_piece`].
pub fn count<T: AsRef<[u8]> + Sync>(
    cutter: &Cutter,
    rule: Documents,
    threads: Option<usize>,
    documents: &[T],
) -> Result<PieceCounts> {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    let bytes: usize = documents
        .iter()
        .map(|document| document.as_ref().len())
        .sum();
    // A stretch of less is not worth a table of its own.
    let threads = threads.unwrap_or_else(available).min(bytes >> 18).max(1);
    let stretches = stretches(documents, bytes.div_ceil(threads));
    let counted = on_threads(stretches.len(), Some(threads), |stretch| {
        let (first, last) = stretches[stretch];
        let mut counts = PieceCounts::default();
        for document in &documents[first..last] {
            count_document(cutter, rule, document.as_ref(), &mut counts)?;
        }
        Ok(counts)
    });
    let mut counts = PieceCounts::default();
    for more in counted {
        counts.merge(more?);
    }
    Ok(counts)
}

fn count_document(
    cutter: &Cutter,
    rule: Documents,
    document: &[u8],
    counts: &mut PieceCounts,
) -> Result<()> {
    let mut count = |text: &[u8]| cutter.for_each_piece(text, |start, end| counts.add(text, start, end));
    match rule {
        Documents::Whole => count(document),
        Documents::Lines => lines(document).try_for_each(count),
    }
}

/// Bounds of stretches of whole documents of about `bytes` each.
fn stretches<T: AsRef<[u8]>>(documents: &[T], bytes: usize) -> Vec<(usize, usize)> {
    let (mut stretches, mut first, mut sum) = (Vec::new(), 0, 0);
    for (place, document) in documents.iter().enumerate() {
        sum += document.as_ref().len();
        if sum >= bytes || place + 1 == documents.len() {
            stretches.push((first, place + 1));
            (first, sum) = (place + 1, 0);
        }
    }
    stretches
}
