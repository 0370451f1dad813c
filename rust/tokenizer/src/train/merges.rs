//! The merge loop: repeatedly joins the most frequent pair to a token.
//!
//! The merges are those of the trainer of the `tokenizers` library: ties go to the smaller pair of ids, and a merge that spells a
//! special token takes its id.

use super::candidates::{ids as parts, pair};
use super::gains::Gains;
use super::pair_scan::{Threshold, first_pair_scan, pair_scan};
use super::progress::{Phase, Watch};
use super::target::Target;
use super::words::{Symbol, Words};
use crate::error::Result;
use crate::keyed::KeyedMap;
use crate::model::{MAX_TOKEN_BYTES, Merge};

/// The tokens so far.
pub struct Tokens {
    /// Bytes of each id.
    pub bytes: Vec<Vec<u8>>,
    /// Id of each token's bytes.
    pub ids: KeyedMap<Vec<u8>, u32>,
}

impl Tokens {
    /// The id of two tokens joined: an existing one if their bytes have one, else a new one.
    fn join(&mut self, left: u32, right: u32) -> u32 {
        let bytes = [&self.bytes[left as usize][..], &self.bytes[right as usize]].concat();
        *self.ids.entry(bytes).or_insert_with_key(|bytes| {
            self.bytes.push(bytes.clone());
            self.bytes.len() as u32 - 1
        })
    }
}

/// Settings of the merge loop.
pub struct Plan<'t> {
    /// Vocabulary size and minimum frequency.
    pub target: &'t Target,
    /// The bytes have the ids from here on.
    pub first_byte: u32,
    /// The number of pairs to hold, by the number of merges that are missing.
    pub keep: fn(usize) -> usize,
}

/// The pairs that will be merged are nearly always among this many.
pub fn keep(missing: usize) -> usize {
    missing * 2 + 4096
}

/// Merges until the vocabulary is full or no pair is left; adds the new tokens to `tokens`.
pub fn merge_all<S: Symbol>(
    mut words: Words<S>,
    tokens: &mut Tokens,
    plan: &Plan<'_>,
    watch: &mut Watch<'_>,
) -> Result<Vec<Merge>> {
    let vocab_size = plan.target.vocab_size;
    let missing = |tokens: &Tokens| vocab_size - tokens.bytes.len();
    let total = missing(tokens) as u64;
    let min_count = plan.target.min_frequency.max(1);
    let threshold = |tokens: &Tokens| Threshold {
        min_count,
        wanted: (plan.keep)(missing(tokens)),
    };
    let mut merges = Vec::new();
    // Sized by existing ids: a corpus gives at most as many as it has pairs, whatever the vocabulary size.
    let (mut left, mut right) = (Gains::default(), Gains::default());
    let mut postings = Vec::new();
    let mut crowded = 0;
    let mut candidates = first_pair_scan(&words, plan.first_byte, threshold(tokens));
    while missing(tokens) > 0 {
        let Some(next) = candidates.pop(&mut postings) else {
            if candidates.threshold() <= min_count {
                break;
            }
            words.close_gaps();
            candidates = pair_scan(&words, threshold(tokens), candidates.threshold());
            continue;
        };
        let (l, r) = parts(next);
        if tokens.bytes[l as usize].len() + tokens.bytes[r as usize].len() > MAX_TOKEN_BYTES {
            continue;
        }
        let joined = tokens.join(l, r);
        left.grow(tokens.bytes.len());
        right.grow(tokens.bytes.len());
        let merge = Merge {
            left: l,
            right: r,
            joined,
        };
        merges.push(merge);
        words.join(&postings, merge, &mut left, &mut right);
        // The right side first: a pair (z, l) that it adds may be removed by the left side, as in "lrlr".
        candidates.take(&mut right, |y| pair(r, y), |y| pair(joined, y));
        candidates.take(&mut left, |x| pair(x, l), |x| pair(x, joined));
        let keep = (plan.keep)(missing(tokens));
        if candidates.live() > crowded.max(2 * keep) {
            candidates.raise_threshold(keep);
            // If many pairs occur equally often, none of them is dropped. Trying again before their number has doubled would make
            // each merge cost as much as a scan of all pairs.
            crowded = 2 * candidates.live();
        }
        candidates.close_gaps();
        watch.report_if_due(Phase::Merging, merges.len() as u64, total)?;
    }
    watch.report(Phase::Merging, merges.len() as u64, total)?;
    Ok(merges)
}
