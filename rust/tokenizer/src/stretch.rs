//! Long texts in stretches, cut where no piece can tell: encoding that ends early.

use crate::border::{first_border, has_borders};
use crate::engine::Scratch;
use crate::error::Result;
use crate::stop::Stop;
use crate::tokenizer::{Special, Tokenizer};

/// Bytes between two looks at the bounds.
pub(crate) const STRETCH_BYTES: usize = 1 << 20;
/// Bytes a token has at most on average, in text that has words. A guess too low costs another stretch.
const BYTES_PER_TOKEN: usize = 5;

/// How far encoding goes. The default is to the end.
#[derive(Default)]
pub(crate) struct Bounds {
    /// Ids wanted at most; a few more may come.
    most: Option<usize>,
    /// Ids are counted and not kept.
    counted: Option<usize>,
    /// Raised by who no longer waits.
    stop: Option<Stop>,
}

impl Bounds {
    /// Until this flag is raised.
    pub(crate) fn until(stop: &Stop) -> Self {
        Self {
            stop: Some(stop.clone()),
            ..Self::default()
        }
    }

    fn reached(&self, ids: usize) -> bool {
        self.most.is_some_and(|most| ids >= most) || self.stop.as_ref().is_some_and(Stop::asked)
    }

    fn stretch_bytes(&self, ids: usize) -> usize {
        let wanted = |most: usize| (most - ids).saturating_mul(BYTES_PER_TOKEN);
        self.most
            .map_or(STRETCH_BYTES, |most| wanted(most).clamp(64, STRETCH_BYTES))
    }
}

impl Tokenizer {
    /// The first `most` of the ids that [`Tokenizer::encode`] gives. O(bytes of those ids), where the text has words: text without
    /// a place to cut (a flood of digits, of white space) is encoded whole, and so is any text by a regular expression of the user's own.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_at_most(&self, text: &[u8], special: Special, most: usize) -> Result<Vec<u32>> {
        let bounds = Bounds {
            most: Some(most),
            ..Bounds::default()
        };
        let mut ids = Vec::new();
        self.with_bounds(bounds, |scratch| {
            self.encode_into(text, special, scratch, &mut ids)
        })?;
        ids.truncate(most);
        Ok(ids)
    }

    /// As [`Tokenizer::encode`], until `stop` is raised.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if it was; else as [`Tokenizer::encode`].
    pub fn encode_until(&self, text: &[u8], special: Special, stop: &Stop) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        self.with_bounds(Bounds::until(stop), |scratch| {
            self.encode_into(text, special, scratch, &mut ids)
        })?;
        stop.check().map(|()| ids)
    }

    /// How many ids [`Tokenizer::encode`] would give; they are not kept.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn count(&self, text: &[u8], special: Special) -> Result<usize> {
        self.with_scratch(|scratch| self.count_with(text, special, scratch))
    }

    /// As [`Tokenizer::count`], until `stop` is raised.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if it was; else as [`Tokenizer::encode`].
    pub fn count_until(&self, text: &[u8], special: Special, stop: &Stop) -> Result<usize> {
        let count = self.with_bounds(Bounds::until(stop), |scratch| {
            self.count_with(text, special, scratch)
        })?;
        stop.check().map(|()| count)
    }

    pub(crate) fn count_with(
        &self,
        text: &[u8],
        special: Special,
        scratch: &mut Scratch,
    ) -> Result<usize> {
        let mut ids = std::mem::take(&mut scratch.ids);
        ids.clear();
        scratch.bounds.counted = Some(0);
        let outcome = self.encode_into(text, special, scratch, &mut ids);
        let counted = scratch.bounds.counted.take();
        let count = counted.unwrap_or_default() + ids.len();
        scratch.keep(ids);
        outcome.map(|()| count)
    }

    pub(crate) fn with_bounds<T>(&self, bounds: Bounds, work: impl FnOnce(&mut Scratch) -> T) -> T {
        self.with_scratch(|scratch| {
            scratch.bounds = bounds;
            let result = work(scratch);
            scratch.bounds = Bounds::default();
            result
        })
    }

    /// Appends the ids of `text`, which holds no added token, as far as the bounds allow.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub(crate) fn encode_stretches(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let mut rest = text;
        while !rest.is_empty() && !scratch.bounds.reached(ids.len()) {
            let end = match has_borders(&self.model().cutter) {
                true => first_border(rest, scratch.bounds.stretch_bytes(ids.len())),
                false => rest.len(),
            };
            self.encode_text(&rest[..end], scratch, ids)?;
            if let Some(counted) = &mut scratch.bounds.counted {
                *counted += ids.len();
                ids.clear();
            }
            rest = &rest[end..];
        }
        Ok(())
    }
}
