//! What a thread keeps between pre-tokens.

use super::check::Memo;
use super::merge_loop::LoopBuffers;

/// What a thread keeps between pre-tokens.
#[derive(Default)]
pub struct MergeBuffers {
    /// A bit for each byte of a long pre-token: no token of its encoding begins there.
    pub dead_ends: Vec<u64>,
    /// Known results for pairs of tokens.
    pub memo: Memo,
    /// Buffers to merge by definition.
    pub merging: LoopBuffers,
    /// Steps in the trie and pairs checked.
    #[cfg(test)]
    steps: u64,
}

/// Counts steps, for tests that the work is linear in the text.
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
