//! What a thread keeps between pre-tokens.

use super::check::Memo;
use super::merge_loop::LoopBuffers;

/// What a thread keeps between pre-tokens.
#[derive(Default)]
pub struct MergeBuffers {
    /// A bit for each byte of a long pre-token: no token of its encoding begins here.
    pub dead_ends: Vec<u64>,
    /// Answers for pairs of tokens.
    pub memo: Memo,
    /// What merging by definition takes.
    pub merging: LoopBuffers,
    /// Steps in the trie and pairs checked.
    #[cfg(test)]
    steps: u64,
}

/// Counts work, for the tests that it grows with the text and no faster.
#[cfg(test)]
impl MergeBuffers {
    pub fn count(&mut self, steps: usize) {
        self.steps += steps as u64;
    }

    /// Steps in the trie and pairs checked so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

#[cfg(not(test))]
impl MergeBuffers {
    /// Does nothing outside of tests.
    #[inline(always)]
    pub fn count(&mut self, _steps: usize) {}
}
