//! Cancellation flag: raised by the caller, polled by worker threads.

use crate::error::{Result, TokenizerError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A cancellation flag. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Cancels the call that was given this flag. The call ends within about a mebibyte of text.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag was raised.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`TokenizerError::Interrupted`] if the flag was raised.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() {
            Err(TokenizerError::Interrupted)
        } else {
            Ok(())
        }
    }
}
