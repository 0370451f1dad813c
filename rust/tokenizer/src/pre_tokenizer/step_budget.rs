//! Limits the work to split one text: regular expressions come from files, texts from anywhere.

use crate::cancel::CancelFlag;
use crate::error::{Result, TokenizerError, short};

/// Steps that any text may take.
const MIN_STEPS: u64 = 10_000_000;
/// Additional steps for each byte of a text. Patterns in use take ten.
const STEPS_PER_BYTE: u64 = 256;

/// The steps left for one text: bytes read and alternatives tried by its searches together.
pub struct StepBudget<'s> {
    left: u64,
    limit: u64,
    cancel: &'s CancelFlag,
}

impl<'s> StepBudget<'s> {
    /// The budget of a text of `bytes` bytes, until `cancel` is raised.
    pub fn of(bytes: usize, cancel: &'s CancelFlag) -> Self {
        let limit = MIN_STEPS + STEPS_PER_BYTE * bytes as u64;
        Self {
            left: limit,
            limit,
            cancel,
        }
    }

    /// Takes some steps; `false` if fewer are left.
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

    /// The cancellation flag.
    pub fn cancel_flag(&self) -> &'s CancelFlag {
        self.cancel
    }

    /// The error of a search for `pattern` that began at byte `offset` of its text and reached the limit.
    pub fn exhausted(&self, pattern: &str, offset: usize) -> TokenizerError {
        TokenizerError::PatternSteps {
            pattern: short(pattern),
            offset,
            limit: self.limit,
        }
    }

    /// The number of steps taken.
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
