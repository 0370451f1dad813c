//! How much work cutting one text may take: regular expressions come from files, texts from anybody.

use crate::cancel::Stop;
use crate::error::{Result, TokenizerError, short};

/// Steps that any text may take.
const LEAST: u64 = 10_000_000;
/// Steps that each byte of a text adds. Patterns in use take ten.
const PER_BYTE: u64 = 256;

/// Bytes looked at and alternatives tried in one text, all searches together.
pub struct Steps<'s> {
    left: u64,
    limit: u64,
    stop: &'s Stop,
}

impl<'s> Steps<'s> {
    /// As many as a text of so many bytes may take, until `stop` is raised.
    pub fn of(bytes: usize, stop: &'s Stop) -> Self {
        let limit = LEAST + PER_BYTE * bytes as u64;
        Self {
            left: limit,
            limit,
            stop,
        }
    }

    /// Takes some; `false` if there were not so many.
    #[inline]
    pub fn take(&mut self, steps: u64) -> bool {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                false
            }
        }
    }

    /// The flag of who waits.
    pub fn stop(&self) -> &'s Stop {
        self.stop
    }

    /// The error of a search for `pattern` that began at byte `offset` of its text and came to the limit.
    pub fn used_up(&self, pattern: &str, offset: usize) -> TokenizerError {
        TokenizerError::PatternSteps {
            pattern: short(pattern),
            offset,
            limit: self.limit,
        }
    }

    /// How many were taken.
    #[cfg(test)]
    pub fn taken(&self) -> u64 {
        self.limit - self.left
    }

    /// # Errors
    /// [`TokenizerError::Interrupted`] once the flag is raised.
    pub fn check(&self) -> Result<()> {
        self.stop.check()
    }
}
