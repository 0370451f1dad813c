//! How much work cutting one text may take: regular expressions come from files, texts from anybody.

use crate::cancel::CancelFlag;
use crate::error::{Result, TokenizerError, short};

/// Steps that any text may take.
const MIN_STEPS: u64 = 10_000_000;
/// Steps that each byte of a text adds. Patterns in use take ten.
const STEPS_PER_BYTE: u64 = 256;

/// Bytes looked at and alternatives tried in one text, all searches together.
pub struct StepBudget<'s> {
    left: u64,
    limit: u64,
    cancel: &'s CancelFlag,
}

impl<'s> StepBudget<'s> {
    /// As many as a text of so many bytes may take, until `cancel` is raised.
    pub fn of(bytes: usize, cancel: &'s CancelFlag) -> Self {
        let limit = MIN_STEPS + STEPS_PER_BYTE * bytes as u64;
        Self {
            left: limit,
            limit,
            cancel,
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
    pub fn cancel_flag(&self) -> &'s CancelFlag {
        self.cancel
    }

    /// The error of a search for `pattern` that began at byte `offset` of its text and came to the limit.
    pub fn exhausted(&self, pattern: &str, offset: usize) -> TokenizerError {
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
        self.cancel.check()
    }
}
