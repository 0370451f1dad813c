//! Long texts in stretches: places where a text can be cut without any piece knowing, and encoding that ends early.

use crate::classes::{CAPITAL, Classes, LETTER, NUMBER, OTHER, SMALL, SPACE, decode};
use crate::cutter::Cutter;
use crate::engine::Scratch;
use crate::error::Result;
use crate::pattern::Pattern;
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
            let end = match self.model().cutter {
                Cutter::Named(pattern) => {
                    border(pattern, rest, scratch.bounds.stretch_bytes(ids.len()))
                }
                // Where somebody else's regular expression may be cut, nobody knows.
                Cutter::Steps(_) => rest.len(),
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

/// The first place from `from` on where `text` can be cut, so that its pieces are those of both parts; else its end.
///
/// That is a letter or number before anything but a letter, number, mark or apostrophe. No pattern's piece spans it, none looks
/// behind its beginning, and what looks ahead of the letters or numbers on the left sees their end either way.
pub(crate) fn border(pattern: Pattern, text: &[u8], from: usize) -> usize {
    match pattern {
        Pattern::Gpt2 | Pattern::Gpt4 | Pattern::Qwen | Pattern::O200k => {}
    }
    // A byte that continues no character begins one, so that characters are read as from the text's beginning.
    let start = (from.min(text.len())..text.len()).find(|&at| text[at] & 0xC0 != 0x80);
    let Some(mut at) = start else {
        return text.len();
    };
    let classes = Classes::get();
    let mut after_word = false;
    while at < text.len() {
        let (class, len) = match text[at] {
            byte @ ..=0x7F => (classes.ascii[usize::from(byte)], 1),
            _ => decode(&text[at..]).map_or((OTHER, 1), |(code, len)| (classes.of(code), len)),
        };
        let apart = class & (OTHER | SPACE) != 0 && class & (CAPITAL | SMALL) == 0;
        if after_word && apart && text[at] != b'\'' {
            return at;
        }
        after_word = class & (LETTER | NUMBER) != 0;
        at += len;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::for_each_piece;
    use proptest::prelude::*;

    const ALL: [Pattern; 4] = [Pattern::Gpt2, Pattern::Gpt4, Pattern::Qwen, Pattern::O200k];

    fn pieces(pattern: Pattern, text: &[u8]) -> Vec<&[u8]> {
        let mut pieces = Vec::new();
        for_each_piece(pattern, text, |start, end| pieces.push(&text[start..end]));
        pieces
    }

    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        let odd = "[ \n\r\t\u{3000}\u{85}aS'sſtlA12²/.,-中、é\u{301}ǅʰ🚀]{0,60}"
            .prop_map(String::into_bytes);
        prop_oneof![odd, proptest::collection::vec(any::<u8>(), 0..60)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_text_cut_at_a_border_has_the_pieces_of_both_parts(text in any_text(), from in 0_usize..60) {
            for pattern in ALL {
                let (left, right) = text.split_at(border(pattern, &text, from));
                let both: Vec<&[u8]> = pieces(pattern, left).into_iter().chain(pieces(pattern, right)).collect();
                prop_assert_eq!(both, pieces(pattern, &text));
            }
        }
    }

    #[test]
    fn words_have_borders_and_floods_have_none() {
        for (text, from, expected) in [
            ("one two", 0, 3),
            ("one two", 4, 7),
            ("你好，世界", 1, 6),
            ("don't stop", 0, 5),
            ("aaaaaaaa", 2, 8),
            ("   \n  ", 1, 6),
            ("", 0, 0),
        ] {
            assert_eq!(
                border(Pattern::Gpt4, text.as_bytes(), from),
                expected,
                "{text}"
            );
        }
    }
}
