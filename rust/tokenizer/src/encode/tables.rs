//! The immutable tables that encoding reads.

use crate::encode::missing_bytes::MissingBytes;
use crate::error::Result;
use crate::lazy::TryLazy;
use crate::merge::PreTokenEncoder;
use crate::model::Model;
use crate::segment::added::{self, AddedMatcher};
use crate::segment::{Prepared, for_each_segment};
use crate::special::Special;

/// A model with the tables that encoding reads.
pub struct Tables {
    model: Model,
    merger: PreTokenEncoder,
    /// With the merges into added tokens, where text from which added tokens were cut out can still merge into one.
    with_added: Option<Box<PreTokenEncoder>>,
    missing: Option<MissingBytes>,
    /// Built when added tokens are first searched for.
    added: TryLazy<AddedMatcher>,
}

impl Tables {
    /// The tables of `model`.
    ///
    /// # Errors
    /// As [`Model::validate`].
    pub fn new(model: Model) -> Result<Self> {
        let bytes = model.validate()?;
        let merger = PreTokenEncoder::of(&model, &bytes);
        let with_added = added::merging_can_make_added(&model)
            .then(|| Box::new(PreTokenEncoder::of_all(&model, &bytes)));
        let missing = MissingBytes::of(&model, &bytes);
        Ok(Self {
            model,
            merger,
            with_added,
            missing,
            added: TryLazy::default(),
        })
    }

    /// The tokenizer as data.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The bytes that have no token, if there are any.
    #[inline]
    pub fn missing(&self) -> Option<&MissingBytes> {
        self.missing.as_ref()
    }

    /// The encoder with the merges into added tokens (`with_added`) or without them.
    #[inline]
    pub fn merger(&self, with_added: bool) -> &PreTokenEncoder {
        match &self.with_added {
            Some(merger) if with_added => merger,
            _ => &self.merger,
        }
    }

    /// Whether merges into added tokens are made.
    #[inline]
    pub fn merges_added(&self, special: Special) -> bool {
        special == Special::Allow && self.with_added.is_some()
    }

    /// Whether a text is one segment that is encoded unchanged.
    #[inline]
    pub fn is_one_segment(&self, special: Special) -> bool {
        !self.model.looks_for_added(special) && !self.model.nfc && !self.model.prefix_space
    }

    /// As [`for_each_segment`] for this model.
    pub fn for_each_segment(
        &self,
        text: &[u8],
        special: Special,
        visit: &mut dyn FnMut(Prepared<'_>) -> Result<()>,
    ) -> Result<()> {
        if !self.model.looks_for_added(special) {
            return for_each_segment(&self.model, None, text, special, visit);
        }
        let make = || AddedMatcher::of(&self.model.added, self.model.nfc);
        match self.added.get_or_build(make) {
            Some(made) => for_each_segment(&self.model, Some(made), text, special, visit),
            None => for_each_segment(&self.model, Some(&make()), text, special, visit),
        }
    }
}
