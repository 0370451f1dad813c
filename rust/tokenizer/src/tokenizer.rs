//! The engine: a model with its look-up tables, immutable once built and shared by threads.

use crate::added::AddedMatcher;
use crate::decode::SlotTable;
use crate::engine::Scratch;
use crate::error::{Result, TokenizerError};
use crate::format;
use crate::made::Made;
use crate::merge::PieceMerger;
use crate::model::Model;
use crate::scratches::Scratches;
use crate::segments::Prepared;
use std::borrow::Cow;

/// What happens to text that spells an added token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// It is text like any other: no added token comes out.
    Text,
    /// It becomes the added token.
    Allow,
}

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    model: Model,
    pub(crate) merger: PieceMerger,
    /// Made when added tokens are first looked for.
    added: Made<AddedMatcher>,
    scratches: Scratches,
    pub(crate) slots: Made<SlotTable>,
    fingerprint: Made<String>,
}

impl Tokenizer {
    /// The engine for `model`.
    ///
    /// # Errors
    /// [`TokenizerError`] if a byte has no token or an added token is one that plain text needs.
    pub fn new(model: Model) -> Result<Self> {
        let bytes = model.validate()?;
        let merger = PieceMerger::of(&model, &bytes);
        Ok(Self {
            model,
            merger,
            added: Made::default(),
            scratches: Scratches::default(),
            slots: Made::default(),
            fingerprint: Made::default(),
        })
    }

    /// The tokenizer as data.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.model.tokens.len()
    }

    /// BLAKE3 of [`Tokenizer::to_json`] without the post-processor, as `b3:` and hexadecimal digits: tokenizers that
    /// encode and decode alike by the same tables have the same, whatever other libraries are told to add to a text.
    pub fn fingerprint(&self) -> Cow<'_, str> {
        let make = || {
            let encoding = format::huggingface::write_encoding(&self.model);
            format!("b3:{}", blake3::hash(encoding.as_bytes()).to_hex())
        };
        match self.fingerprint.get_or_make(make) {
            Some(made) => Cow::Borrowed(made),
            None => Cow::Owned(make()),
        }
    }

    /// The tokenizer as `tokenizer.json`; equal tokenizers give equal text.
    pub fn to_json(&self) -> String {
        format::huggingface::write(&self.model)
    }

    /// The id of an added token.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownSpecialToken`] lists those there are.
    pub fn special_id(&self, content: &str) -> Result<u32> {
        let found = self
            .model
            .added
            .iter()
            .find(|token| token.content == content);
        found
            .map(|token| token.id)
            .ok_or_else(|| TokenizerError::UnknownSpecialToken {
                content: content.to_owned(),
                known: self
                    .model
                    .added
                    .iter()
                    .map(|token| token.content.clone())
                    .collect(),
            })
    }

    /// The ids of any bytes. Losing none: [`Tokenizer::decode`] gives the (normalised) bytes back.
    ///
    /// # Errors
    /// [`TokenizerError::PatternSteps`] where a regular expression of the user's own comes to its limit.
    pub fn encode(&self, text: &[u8], special: Special) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        self.with_scratch(|scratch| self.encode_into(text, special, scratch, &mut ids))?;
        Ok(ids)
    }

    /// Hands the ids of a text to `take`, which copies them to where they are wanted. For short texts: nothing is allocated.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with<T>(
        &self,
        text: &[u8],
        special: Special,
        take: impl FnOnce(&[u32]) -> T,
    ) -> Result<T> {
        self.with_scratch(|scratch| {
            let mut ids = std::mem::take(&mut scratch.ids);
            ids.clear();
            let taken = self
                .encode_into(text, special, scratch, &mut ids)
                .map(|()| take(&ids));
            scratch.keep(ids);
            taken
        })
    }

    /// The slots of decoding, made when first needed; `None` while another thread makes them.
    #[inline]
    pub(crate) fn slots(&self) -> Option<&SlotTable> {
        self.slots.get_or_make(|| SlotTable::of(&self.model))
    }

    /// Runs `work` with a scratch of this tokenizer, warm from an earlier call if one is free.
    pub(crate) fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = self.scratches.take();
        let result = work(&mut scratch);
        self.scratches.give_back(scratch);
        result
    }

    /// Appends the ids of `text` to `ids`.
    pub(crate) fn encode_into(
        &self,
        text: &[u8],
        special: Special,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let plain = special == Special::Text || self.model.added.is_empty();
        if plain && !self.model.nfc && !self.model.prefix_space {
            return self.encode_stretches(text, scratch, ids);
        }
        self.for_each_segment(text, special, &mut |segment| match segment {
            Prepared::Text(prepared) => self.encode_stretches(prepared.bytes, scratch, ids),
            Prepared::Added { id, .. } => {
                ids.push(id);
                Ok(())
            }
        })
    }

    /// Hands to `work` what finds added tokens; none where text is only text.
    pub(crate) fn with_added<T>(
        &self,
        special: Special,
        work: impl FnOnce(Option<&AddedMatcher>) -> T,
    ) -> T {
        if special == Special::Text || self.model.added.is_empty() {
            return work(None);
        }
        let make = || AddedMatcher::of(&self.model.added, self.model.nfc);
        match self.added.get_or_make(make) {
            Some(made) => work(Some(made)),
            None => work(Some(&make())),
        }
    }
}
