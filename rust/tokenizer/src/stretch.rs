//! Long texts in stretches, cut where no piece can tell: encoding that ends early.

use crate::border::{first_border, has_borders};
use crate::cutter::Cutter;
use crate::engine::Scratch;
use crate::error::Result;
use crate::memory::reserve;
use crate::stop::Stop;
use crate::tokenizer::{Special, Tokenizer};

/// Pieces between two looks at the flag of who waits.
const BETWEEN_LOOKS: usize = 1 << 12;
/// Bytes between two looks at the bounds.
pub(crate) const STRETCH_BYTES: usize = 1 << 20;

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

    /// Until there are `most` ids, or this flag is raised.
    pub(crate) fn of_most(most: usize, stop: &Stop) -> Self {
        Self {
            most: Some(most),
            ..Self::until(stop)
        }
    }

    /// The flag, or one that nobody raises.
    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone().unwrap_or_default()
    }

    fn reached(&self, ids: usize) -> bool {
        self.most.is_some_and(|most| ids >= most) || self.stop.as_ref().is_some_and(Stop::asked)
    }

    /// How many of `most` ids are missing.
    fn missing(&self, ids: usize) -> Option<usize> {
        self.most.map(|most| most.saturating_sub(ids))
    }
}

impl Tokenizer {
    /// As [`Tokenizer::encode`], until `stop` is raised.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if it was; else as [`Tokenizer::encode`].
    pub fn encode_until(&self, text: &[u8], special: Special, stop: &Stop) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        reserve(&mut ids, text.len() / 3 + 1, "ids")?;
        self.with_bounds(Bounds::until(stop), |scratch| {
            self.encode_into(text, special, scratch, &mut ids)
        })?;
        stop.check().map(|()| ids)
    }

    /// The ids of texts, in which no added token is looked for, and of control tokens between them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_until`].
    pub fn encode_parts<'p>(
        &self,
        parts: impl Iterator<Item = std::result::Result<&'p [u8], u32>>,
        stop: &Stop,
    ) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.with_bounds(Bounds::until(stop), |scratch| {
            parts.into_iter().try_for_each(|part| match part {
                Ok(text) => self.encode_into(text, Special::Text, scratch, &mut ids),
                Err(id) => {
                    reserve(&mut ids, 1, "ids")?;
                    ids.push(id);
                    Ok(())
                }
            })
        })?;
        stop.check().map(|()| ids)
    }

    /// The pieces that `text` is cut into.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if `stop` was raised; else as [`Tokenizer::encode`].
    pub fn pieces<'t>(&self, text: &'t str, stop: &Stop) -> Result<Vec<&'t str>> {
        let (mut pieces, mut outcome) = (Vec::new(), Ok(()));
        let piece = |start: usize, end: usize| {
            if outcome.is_ok() {
                outcome = match pieces.len().is_multiple_of(BETWEEN_LOOKS) {
                    true => stop
                        .check()
                        .and_then(|()| reserve(&mut pieces, BETWEEN_LOOKS, "pieces")),
                    false => Ok(()),
                };
            }
            if outcome.is_ok() {
                pieces.push(&text[start..end]);
            }
        };
        self.model()
            .cutter
            .for_each_piece(text.as_bytes(), stop, piece)?;
        outcome.map(|()| pieces)
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
            let missing = scratch.bounds.missing(ids.len());
            let end = match (&self.model().cutter, missing) {
                (Cutter::Named(pattern), Some(most)) if self.holes.is_none() => {
                    self.encode_beginning(*pattern, rest, most, scratch, ids)?
                }
                (cutter, _) => {
                    let end = match has_borders(cutter) {
                        true => first_border(rest, STRETCH_BYTES),
                        false => rest.len(),
                    };
                    self.encode_text(&rest[..end], scratch, ids)?;
                    end
                }
            };
            if let Some(counted) = &mut scratch.bounds.counted {
                *counted += ids.len();
                ids.clear();
            }
            rest = &rest[end..];
        }
        Ok(())
    }
}
