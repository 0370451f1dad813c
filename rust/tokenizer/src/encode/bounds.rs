//! How much of a text one call encodes.

use crate::cancel::CancelFlag;

/// Bytes of text that are encoded between two checks of the bounds.
pub const CHUNK_BYTES: usize = 1 << 20;

/// How much of a text one call encodes. The default is all of it.
#[derive(Default)]
pub struct Bounds {
    /// The number of ids requested; a few more may be returned.
    max_ids: Option<usize>,
    /// The number of ids that were counted and dropped, if ids are only counted.
    counted: Option<usize>,
    /// Cancels the call.
    cancel: Option<CancelFlag>,
}

impl Bounds {
    /// All of the text, unless the call is cancelled.
    pub fn until(cancel: &CancelFlag) -> Self {
        Self {
            cancel: Some(cancel.clone()),
            ..Self::default()
        }
    }

    /// The first `max_ids` ids, unless the call is cancelled.
    pub fn first(max_ids: usize, cancel: &CancelFlag) -> Self {
        Self {
            max_ids: Some(max_ids),
            ..Self::until(cancel)
        }
    }

    /// The cancellation flag, or one that is never raised.
    pub fn cancel_flag(&self) -> CancelFlag {
        self.cancel.clone().unwrap_or_default()
    }

    /// Whether a call that has `ids` ids is done.
    pub fn reached(&self, ids: usize) -> bool {
        self.max_ids.is_some_and(|max_ids| ids >= max_ids)
            || self.cancel.as_ref().is_some_and(CancelFlag::is_raised)
    }

    /// How many of the requested ids are missing.
    pub fn missing(&self, ids: usize) -> Option<usize> {
        self.max_ids.map(|max_ids| max_ids.saturating_sub(ids))
    }

    /// Counts and drops ids from now on.
    pub fn start_count(&mut self) {
        self.counted = Some(0);
    }

    /// Counts and drops `ids`, if ids are only counted.
    pub fn count(&mut self, ids: &mut Vec<u32>) {
        if let Some(counted) = &mut self.counted {
            *counted += ids.len();
            ids.clear();
        }
    }

    /// The number of ids that were counted and dropped. Ids are kept again from now on.
    pub fn end_count(&mut self) -> usize {
        self.counted.take().unwrap_or_default()
    }
}
