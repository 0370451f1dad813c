//! Giving up a long call: one flag, which whoever waits may raise and every thread that works looks at now and then.

use crate::error::{Result, TokenizerError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the call that was given this flag to give up. It does within about a mebibyte of text.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    #[inline]
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`TokenizerError::Interrupted`] once it was asked to.
    pub fn check(&self) -> Result<()> {
        if self.asked() {
            Err(TokenizerError::Interrupted)
        } else {
            Ok(())
        }
    }
}
