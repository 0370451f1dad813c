//! How far training has come, and whether it shall go on.

use crate::error::{Result, TokenizerError};
use std::time::{Duration, Instant};

/// Least time between two looks.
const BETWEEN_CHECKS: Duration = Duration::from_millis(100);

/// The part of training at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Pre-tokens are counted; the unit is bytes of text.
    Counting,
    /// Pairs are merged; the unit is merges.
    Merging,
}

/// How far a phase has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Units done.
    pub done: u64,
    /// Units there are at most; 0 where that is not known.
    pub total: u64,
}

/// Told how far training has come, at most ten times a second; training ends with [`TokenizerError::TrainingInterrupted`] where it
/// says `false`.
pub struct Watch<'w> {
    look: &'w mut dyn FnMut(Progress) -> bool,
    looked: Instant,
}

impl<'w> Watch<'w> {
    /// A watch that calls `look`.
    pub fn new(look: &'w mut dyn FnMut(Progress) -> bool) -> Self {
        let looked = Instant::now();
        Self { look, looked }
    }

    /// Tells how far a phase has come, if the last time is long enough ago.
    ///
    /// # Errors
    /// [`TokenizerError::TrainingInterrupted`] if training shall not go on.
    pub fn glance(&mut self, phase: Phase, done: u64, total: u64) -> Result<()> {
        if self.looked.elapsed() < BETWEEN_CHECKS {
            return Ok(());
        }
        self.look(phase, done, total)
    }

    /// Tells how far a phase has come.
    ///
    /// # Errors
    /// [`TokenizerError::TrainingInterrupted`] if training shall not go on.
    pub fn look(&mut self, phase: Phase, done: u64, total: u64) -> Result<()> {
        self.looked = Instant::now();
        if (self.look)(Progress { phase, done, total }) {
            return Ok(());
        }
        Err(TokenizerError::TrainingInterrupted { done, total })
    }
}
