//! The engine: a model with its look-up tables, immutable once built and shared by threads.

use crate::added::{self, AddedMatcher};
use crate::decode::SlotTable;
use crate::engine::Scratch;
use crate::error::{Result, TokenizerError, listed};
use crate::format;
use crate::holes::Holes;
use crate::made::Made;
use crate::memory::reserve;
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
    /// It becomes the added token unless that is flagged special: those are text, and no merge makes one.
    Unflagged,
    /// It becomes the added token.
    Allow,
}

impl Special {
    /// Whether text becomes the added token it spells; `flagged`: that is flagged special.
    pub fn takes(self, flagged: bool) -> bool {
        match self {
            Self::Text => false,
            Self::Unflagged => !flagged,
            Self::Allow => true,
        }
    }
}

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    model: Model,
    merger: PieceMerger,
    /// With the merges into added tokens, where text that has lost its added tokens can still come to one.
    full: Option<Box<PieceMerger>>,
    pub(crate) holes: Option<Holes>,
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
        let full = added::can_stay(&model).then(|| Box::new(PieceMerger::of_all(&model, &bytes)));
        let holes = Holes::of(&model, &bytes);
        Ok(Self {
            model,
            merger,
            full,
            holes,
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

    /// BLAKE3 of [`Tokenizer::to_json`], as `b3:` and hexadecimal digits.
    pub fn fingerprint(&self) -> Cow<'_, str> {
        let make = || format!("b3:{}", blake3::hash(self.to_json().as_bytes()).to_hex());
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
                known: listed(self.model.added.iter().map(|token| token.content.as_str())),
            })
    }

    /// The ids of any bytes. Losing none: [`Tokenizer::decode`] gives the (normalised) bytes back.
    ///
    /// # Errors
    /// [`TokenizerError::PatternSteps`] where a regular expression of the user's own comes to its limit.
    pub fn encode(&self, text: &[u8], special: Special) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        reserve(&mut ids, text.len() / 3 + 1, "ids")?;
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

    /// What merges, for text of which added tokens were cut out (`full`) or not.
    #[inline]
    pub(crate) fn merger(&self, full: bool) -> &PieceMerger {
        match &self.full {
            Some(merger) if full => merger,
            _ => &self.merger,
        }
    }

    /// Chooses what merges, and what is remembered of it.
    pub(crate) fn choose_merger(&self, special: Special, scratch: &mut Scratch) {
        scratch.merge_fully(special == Special::Allow && self.full.is_some());
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
        self.choose_merger(special, scratch);
        if !self.model.looks_for_added(special) && !self.model.nfc && !self.model.prefix_space {
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
        if !self.model.looks_for_added(special) {
            return work(None);
        }
        let make = || AddedMatcher::of(&self.model.added, self.model.nfc);
        match self.added.get_or_make(make) {
            Some(made) => work(Some(made)),
            None => work(Some(&make())),
        }
    }
}
