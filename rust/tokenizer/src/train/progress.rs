//! Progress of training, and interrupting it.

use crate::error::{Result, TokenizerError};
use std::time::{Duration, Instant};

/// The minimum time between two reports.
const BETWEEN_REPORTS: Duration = Duration::from_millis(100);

/// A phase of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Pre-tokens are counted; the unit is bytes of text.
    Counting,
    /// Pairs are merged; the unit is merges.
    Merging,
}

/// The progress of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Units done.
    pub done: u64,
    /// The maximum number of units; 0 if it is unknown.
    pub total: u64,
}

/// Receives the progress of training, at most ten times a second; training ends with [`TokenizerError::TrainingInterrupted`] if
/// it returns `false`.
pub struct Watch<'w> {
    report: &'w mut dyn FnMut(Progress) -> bool,
    reported: Instant,
}

impl<'w> Watch<'w> {
    /// A watch that calls `report`.
    pub fn new(report: &'w mut dyn FnMut(Progress) -> bool) -> Self {
        let reported = Instant::now();
        Self { report, reported }
    }

    /// Reports the progress of a phase, if the last report is long enough ago.
    ///
    /// # Errors
    /// [`TokenizerError::TrainingInterrupted`] if training was interrupted.
    pub fn report_if_due(&mut self, phase: Phase, done: u64, total: u64) -> Result<()> {
        if self.reported.elapsed() < BETWEEN_REPORTS {
            return Ok(());
        }
        self.report(phase, done, total)
    }

    /// Reports the progress of a phase.
    ///
    /// # Errors
    /// [`TokenizerError::TrainingInterrupted`] if training was interrupted.
    pub fn report(&mut self, phase: Phase, done: u64, total: u64) -> Result<()> {
        self.reported = Instant::now();
        if (self.report)(Progress { phase, done, total }) {
            return Ok(());
        }
        Err(TokenizerError::TrainingInterrupted { done, total })
    }
}
