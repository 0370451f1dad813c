//! The engine: a model with its look-up tables, immutable once built and shared by threads.

use crate::added::AddedMatcher;
use crate::engine::Scratch;
use crate::error::{Result, TokenizerError};
use crate::format;
use crate::merge::PieceMerger;
use crate::model::Model;
use crate::segments::{Prepared, rise};
use std::sync::{Mutex, OnceLock};

/// What happens to text that spells an added token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// It is text like any other: no added token comes out.
    Text,
    /// It becomes the added token.
    Allow,
}

/// Scratches kept for the next call; more threads than this at once make their own.
const SCRATCHES_KEPT: usize = 16;

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    model: Model,
    pub(crate) merger: PieceMerger,
    /// Made when added tokens are first looked for.
    added: OnceLock<AddedMatcher>,
    /// Only ever taken by `try_lock`: a lock that another thread held across `fork` costs a fresh scratch, not a hang.
    scratches: Mutex<Vec<Scratch>>,
    fingerprint: OnceLock<String>,
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
            added: OnceLock::new(),
            scratches: Mutex::default(),
            fingerprint: OnceLock::new(),
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
    pub fn fingerprint(&self) -> &str {
        self.fingerprint
            .get_or_init(|| format!("b3:{}", blake3::hash(self.to_json().as_bytes()).to_hex()))
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

    /// The bytes of a token.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownToken`] for an id outside the vocabulary or in one of its gaps.
    pub fn token_bytes(&self, id: u32) -> Result<&[u8]> {
        match self.model.tokens.get(id) {
            [] => Err(TokenizerError::UnknownToken {
                id: u64::from(id),
                vocab_size: self.vocab_size(),
            }),
            bytes => Ok(bytes),
        }
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

    /// How many ids [`Tokenizer::encode`] would give.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn count(&self, text: &[u8], special: Special) -> Result<usize> {
        self.with_scratch(|scratch| {
            let mut counted = std::mem::take(&mut scratch.counted);
            counted.clear();
            let outcome = self.encode_into(text, special, scratch, &mut counted);
            let count = counted.len();
            // A buffer for a long text is not worth keeping.
            scratch.counted = if counted.capacity() <= 1 << 16 {
                counted
            } else {
                Vec::new()
            };
            outcome.map(|()| count)
        })
    }

    /// The ids of `text`, and the byte offset at which each begins, followed by the length of the text.
    ///
    /// Offsets are those of `text` as it was given: a token of a space that was put before it is empty there, and one that
    /// begins inside a character that normalising changed begins where that does.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_offsets(&self, text: &[u8], special: Special) -> Result<(Vec<u32>, Vec<u64>)> {
        let (mut ids, mut offsets) = (Vec::new(), Vec::new());
        self.with_scratch(|scratch| {
            self.for_each_segment(text, special, &mut |segment| {
                match segment {
                    Prepared::Added { id, start } => {
                        ids.push(id);
                        offsets.push(start as u64);
                    }
                    Prepared::Text(prepared) => {
                        let (first, mut at) = (ids.len(), 0);
                        self.encode_text(prepared.bytes, scratch, &mut ids)?;
                        for &id in &ids[first..] {
                            offsets.push(prepared.origin(at) as u64);
                            at += self.model.tokens.get(id).len();
                        }
                    }
                }
                Ok(())
            })
        })?;
        rise(&mut offsets);
        offsets.push(text.len() as u64);
        Ok((ids, offsets))
    }

    /// The bytes of `ids`, one after the other; `skip_special` leaves out added tokens flagged special.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownToken`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for &id in ids {
            let token = self.token_bytes(id)?;
            if !(skip_special && self.is_special(id)) {
                bytes.extend_from_slice(token);
            }
        }
        Ok(bytes)
    }

    /// The text of `ids`; what is not UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn decode_text(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let bytes = self.decode(ids, skip_special)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The texts of documents end to end: `ids[offsets[i]..offsets[i + 1]]` each.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`]; [`TokenizerError::BadOffsets`] where offsets fall or lead beyond the ids.
    pub fn decode_batch(
        &self,
        ids: &[u32],
        offsets: &[u64],
        skip_special: bool,
    ) -> Result<Vec<String>> {
        let document = |bounds: &[u64]| {
            let (start, end) = (bounds[0], bounds[1]);
            let found = ids.get(start as usize..end as usize);
            let ids = found.ok_or(TokenizerError::BadOffsets {
                start,
                end,
                ids: ids.len(),
            })?;
            self.decode_text(ids, skip_special)
        };
        offsets.windows(2).map(document).collect()
    }

    /// Whether `id` is an added token flagged special.
    pub fn is_special(&self, id: u32) -> bool {
        let place = self.model.added.binary_search_by_key(&id, |token| token.id);
        place.is_ok_and(|place| self.model.added[place].special)
    }

    /// Runs `work` with a scratch of this tokenizer, warm from an earlier call if one is free.
    pub(crate) fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let free = self
            .scratches
            .try_lock()
            .ok()
            .and_then(|mut free| free.pop());
        let mut scratch = free.unwrap_or_default();
        let result = work(&mut scratch);
        if let Ok(mut free) = self.scratches.try_lock()
            && free.len() < SCRATCHES_KEPT
        {
            free.push(scratch);
        }
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
            return self.encode_text(text, scratch, ids);
        }
        self.for_each_segment(text, special, &mut |segment| match segment {
            Prepared::Text(prepared) => self.encode_text(prepared.bytes, scratch, ids),
            Prepared::Added { id, .. } => {
                ids.push(id);
                Ok(())
            }
        })
    }

    /// Where added tokens stand; none where text is only text.
    pub(crate) fn added(&self, special: Special) -> Option<&AddedMatcher> {
        (special == Special::Allow && !self.model.added.is_empty())
            .then(|| self.added.get_or_init(|| AddedMatcher::of(&self.model.added, self.model.nfc)))
    }
}
