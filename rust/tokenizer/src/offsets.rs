//! Where in the text each token lies, in bytes and in characters.

use crate::classes::continues;
use crate::error::Result;
use crate::segments::{Prepared, rise};
use crate::stop::Stop;
use crate::stretch::Bounds;
use crate::tokenizer::{Special, Tokenizer};

/// Tokens between two looks at the flag of who no longer waits.
const BETWEEN_LOOKS: usize = 1 << 16;

impl Tokenizer {
    /// The ids of `text`, and the byte offset at which each begins, followed by the length of the text.
    ///
    /// Offsets are those of `text` as it was given: a token of a space that was put before it is empty there, and one that
    /// begins inside a character that normalising changed begins where that does.
    ///
    /// # Errors
    /// [`crate::TokenizerError::Interrupted`] if `stop` was raised; else as [`Tokenizer::encode`].
    pub fn encode_with_offsets(
        &self,
        text: &[u8],
        special: Special,
        stop: &Stop,
    ) -> Result<(Vec<u32>, Vec<u64>)> {
        let (mut ids, mut offsets) = (Vec::new(), Vec::new());
        self.with_bounds(Bounds::until(stop), |scratch| {
            self.for_each_segment(text, special, &mut |segment| {
                match segment {
                    Prepared::Added { id, start } => {
                        ids.push(id);
                        offsets.push(start as u64);
                    }
                    Prepared::Text(prepared) => {
                        let (first, mut at) = (ids.len(), 0);
                        self.encode_stretches(prepared.bytes, scratch, &mut ids)?;
                        for ids in ids[first..].chunks(BETWEEN_LOOKS) {
                            stop.check()?;
                            offsets.extend(ids.iter().map(|&id| {
                                let start = at;
                                at += self.model().tokens.get(id).len();
                                prepared.origin(start) as u64
                            }));
                        }
                    }
                }
                Ok(())
            })
        })?;
        stop.check()?;
        rise(&mut offsets);
        offsets.push(text.len() as u64);
        Ok((ids, offsets))
    }

    /// The ids of `text`, and the characters each covers: `[first, one beyond the last]`. Tokens that share a character all cover
    /// it. A byte that continues no character counts to the one before.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_with_offsets`].
    pub fn encode_with_spans(
        &self,
        text: &[u8],
        special: Special,
        stop: &Stop,
    ) -> Result<(Vec<u32>, Vec<[u64; 2]>)> {
        let (ids, offsets) = self.encode_with_offsets(text, special, stop)?;
        let (mut spans, mut begun) = (Vec::with_capacity(ids.len()), 0);
        for (token, bounds) in offsets.windows(2).enumerate() {
            if token.is_multiple_of(BETWEEN_LOOKS) {
                stop.check()?;
            }
            let bytes = &text[bounds[0] as usize..bounds[1] as usize];
            // A token that begins within a character covers that one, too.
            let first =
                begun - u64::from(begun > 0 && bytes.first().is_some_and(|&byte| continues(byte)));
            begun += bytes.iter().filter(|&&byte| !continues(byte)).count() as u64;
            spans.push([first, begun]);
        }
        Ok((ids, spans))
    }
}
