//! Decodes ids to bytes.
//!
//! Each token of up to 15 bytes has a slot of 16 bytes that is copied whole, whatever its length, so that the copy is one load
//! and one store; the next slot overwrites the excess. Long tokens, special tokens and unknown ids take a slower path.

pub mod stream;

use crate::cancel::CancelFlag;
use crate::error::{Result, TokenizerError};
use crate::memory::reserve;
use crate::model::Model;

/// Bytes of a slot: a token, and its length in the last byte.
const SLOT: usize = 16;
/// Longest token that a slot holds.
const MAX_SLOT_BYTES: usize = SLOT - 1;
/// Instead of the length: the slow path is needed, for a long token, a special one or a gap.
const SLOW: u8 = u8::MAX;
/// The slot of ids outside the vocabulary.
const BEYOND: [u8; SLOT] = [SLOW; SLOT];
/// Ids decoded into the buffer on the stack before it is flushed.
const BLOCK: usize = 128;
/// Ids between two checks of the cancellation flag.
const BETWEEN_CHECKS: usize = 1 << 20;

/// The slots of a vocabulary: 2 MiB for 128,000 tokens.
pub struct SlotTable(Vec<[u8; SLOT]>);

impl SlotTable {
    /// Builds the slots of a vocabulary.
    pub fn of(model: &Model) -> Self {
        let mut slots = vec![BEYOND; model.tokens.len()];
        for (id, token) in model
            .tokens
            .iter()
            .filter(|(_, token)| token.len() <= MAX_SLOT_BYTES)
        {
            let slot = &mut slots[id as usize];
            slot[..token.len()].copy_from_slice(token);
            slot[MAX_SLOT_BYTES] = token.len() as u8;
        }
        for added in model.added.iter().filter(|added| added.special) {
            slots[added.id as usize] = BEYOND;
        }
        Self(slots)
    }

    #[inline]
    fn get(&self, id: u32) -> &[u8; SLOT] {
        self.0.get(id as usize).unwrap_or(&BEYOND)
    }
}

/// Decodes ids of a vocabulary.
#[derive(Clone, Copy)]
pub struct Decoder<'m> {
    /// The vocabulary.
    pub model: &'m Model,
    /// Its slots; `None` while another thread is building them.
    pub slots: Option<&'m SlotTable>,
    /// Whether added tokens flagged special are left out.
    pub skip_special: bool,
}

impl Decoder<'_> {
    /// The bytes of `ids`, concatenated, until `cancel` is raised.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownToken`] for an id outside the vocabulary; [`TokenizerError::Interrupted`].
    pub fn decode(self, ids: &[u32], cancel: &CancelFlag) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reserve(&mut bytes, ids.len().saturating_mul(5), "text")?;
        self.decode_chunks(ids, cancel, &mut bytes)?;
        Ok(bytes)
    }

    fn decode_chunks(self, ids: &[u32], cancel: &CancelFlag, bytes: &mut Vec<u8>) -> Result<()> {
        for ids in ids.chunks(BETWEEN_CHECKS) {
            cancel.check()?;
            self.decode_into(ids, bytes)?;
        }
        Ok(())
    }

    /// Appends the bytes of `ids`.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownToken`] for an id outside the vocabulary; `bytes` may have grown.
    fn decode_into(self, ids: &[u32], bytes: &mut Vec<u8>) -> Result<()> {
        let Some(slots) = self.slots else {
            return ids.iter().try_for_each(|&id| self.decode_slowly(id, bytes));
        };
        let mut block = [0; BLOCK * SLOT];
        for ids in ids.chunks(BLOCK) {
            let mut filled = 0;
            for &id in ids {
                let slot = slots.get(id);
                if slot[MAX_SLOT_BYTES] == SLOW {
                    append(bytes, &block[..filled])?;
                    filled = 0;
                    self.decode_slowly(id, bytes)?;
                } else {
                    block[filled..filled + SLOT].copy_from_slice(slot);
                    filled += usize::from(slot[MAX_SLOT_BYTES]);
                }
            }
            append(bytes, &block[..filled])?;
        }
        Ok(())
    }

    #[cold]
    fn decode_slowly(self, id: u32, bytes: &mut Vec<u8>) -> Result<()> {
        let token = self.model.token_bytes(id)?;
        if !(self.skip_special && self.model.is_special(id)) {
            append(bytes, token)?;
        }
        Ok(())
    }

    /// The bytes of documents, `ids[offsets[i]..offsets[i + 1]]` each, concatenated, and where each ends.
    ///
    /// # Errors
    /// As [`Decoder::decode`]; [`TokenizerError::BadOffsets`] where offsets decrease or exceed the number of ids.
    pub fn decode_documents(
        self,
        ids: &[u32],
        offsets: &[u64],
        cancel: &CancelFlag,
    ) -> Result<(Vec<u8>, Vec<usize>)> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        reserve(&mut ends, offsets.len(), "offsets")?;
        let mut decoded = 0;
        for bounds in offsets.windows(2) {
            let ids = document(ids, bounds[0], bounds[1])?;
            self.decode_chunks(ids, cancel, &mut bytes)?;
            decoded += ids.len();
            if decoded >= BETWEEN_CHECKS {
                cancel.check()?;
                decoded = 0;
            }
            ends.push(bytes.len());
        }
        Ok((bytes, ends))
    }
}

/// Appends bytes; fails if there is no memory for them.
#[inline]
fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Result<()> {
    reserve(bytes, more.len(), "text")?;
    bytes.extend_from_slice(more);
    Ok(())
}

/// `bytes` as text; invalid UTF-8 becomes U+FFFD, as by `String::from_utf8_lossy`.
///
/// # Errors
/// [`TokenizerError::OutOfMemory`].
pub fn valid_text(bytes: &[u8]) -> Result<String> {
    let mut text = Vec::new();
    for chunk in bytes.utf8_chunks() {
        append(&mut text, chunk.valid().as_bytes())?;
        if !chunk.invalid().is_empty() {
            append(&mut text, "\u{FFFD}".as_bytes())?;
        }
    }
    Ok(String::from_utf8(text).unwrap_or_default())
}

/// The ids of one document.
///
/// # Errors
/// [`TokenizerError::BadOffsets`] where `start..end` is not in `ids`.
pub fn document(ids: &[u32], start: u64, end: u64) -> Result<&[u32]> {
    let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let found = bounds.and_then(|(start, end)| ids.get(start..end));
    found.ok_or(TokenizerError::BadOffsets {
        start,
        end,
        ids: ids.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AddedToken, TokenTable};
    use crate::tokenizer::Tokenizer;
    use crate::train::tests::trained;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// A vocabulary with tokens of every length around a slot's, a gap, a special token and an added token that is not special.
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let mut model = trained("a", 256);
        let mut tokens: Vec<(u32, Vec<u8>)> = model
            .tokens
            .iter()
            .map(|(id, bytes)| (id, bytes.to_vec()))
            .collect();
        tokens.extend((1..40).map(|len| (300 + len, vec![b'a' + (len % 26) as u8; len as usize])));
        for (id, content, special) in [(400, "<|end|>", true), (401, "<|tool|>", false)] {
            tokens.push((id, content.into()));
            model.added.push(AddedToken {
                id,
                content: content.to_owned(),
                special,
                normalized: false,
                lstrip: false,
                rstrip: false,
                single_word: false,
            });
        }
        model.tokens = TokenTable::of(tokens);
        Tokenizer::new(model).unwrap()
    });

    proptest! {
        #[test]
        fn decoding_concatenates_the_tokens(
            ids in proptest::collection::vec(prop_oneof![0_u32..256, 301_u32..340, 400_u32..402], 0..600),
            skip_special: bool,
        ) {
            let kept = ids.iter().filter(|&&id| !(skip_special && id == 400));
            let expected: Vec<u8> = kept.flat_map(|&id| TOKENIZER.model().tokens.get(id)).copied().collect();
            prop_assert_eq!(TOKENIZER.decode(&ids, skip_special).unwrap(), expected);
        }
    }

    #[test]
    fn decoding_does_not_wait_for_slots_being_built() {
        let tokenizer = Tokenizer::new(TOKENIZER.model().clone()).unwrap();
        let ids: Vec<u32> = (0..256).chain(301..340).chain([400, 401]).collect();
        let both = || [true, false].map(|skip| TOKENIZER.decode(&ids, skip).unwrap());
        let made = tokenizer.slots.get_or_build(|| {
            let decoded = [true, false].map(|skip| tokenizer.decode(&ids, skip).unwrap());
            assert_eq!(decoded, both());
            assert!(tokenizer.decode(&[300], false).is_err());
            SlotTable::of(tokenizer.model())
        });
        assert!(made.is_some());
    }

    #[test]
    fn a_gap_and_an_id_beyond_the_end_are_unknown() {
        for id in [256, 300, 350, 402, u32::MAX] {
            let error = TOKENIZER.decode(&[1, id], false).unwrap_err();
            let expected = format!("token id {id} is not in this vocabulary of 402 ids");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
}
