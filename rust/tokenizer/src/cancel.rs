//! Giving up a long call: one flag, which whoever waits may raise and every thread that works looks at now and then.

use crate::error::{Result, TokenizerError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Asks the call that was given this flag to give up. It does within about a mebibyte of text.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`TokenizerError::Interrupted`] once it was asked to.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() {
            Err(TokenizerError::Interrupted)
        } else {
            Ok(())
        }
    }
}
