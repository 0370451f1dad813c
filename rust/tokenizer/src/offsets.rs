//! Where in the text each token lies, in bytes and in characters.

use crate::classes::continues;
use crate::error::Result;
use crate::segments::{Prepared, rise};
use crate::tokenizer::{Special, Tokenizer};

impl Tokenizer {
    /// The ids of `text`, and the byte offset at which each begins, followed by the length of the text.
    ///
    /// Offsets are those of `text` as it was given: a token of a space that was put before it is empty there, and one that
    /// begins inside a character that normalising changed begins where that does.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_offsets(
        &self,
        text: &[u8],
        special: Special,
    ) -> Result<(Vec<u32>, Vec<u64>)> {
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
                        self.encode_stretches(prepared.bytes, scratch, &mut ids)?;
                        for &id in &ids[first..] {
                            offsets.push(prepared.origin(at) as u64);
                            at += self.model().tokens.get(id).len();
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

    /// The ids of `text`, and the characters each covers: `[first, one beyond the last]`. Tokens that share a character all cover
    /// it. A byte that continues no character counts to the one before.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_spans(
        &self,
        text: &[u8],
        special: Special,
    ) -> Result<(Vec<u32>, Vec<[u64; 2]>)> {
        let (ids, offsets) = self.encode_with_offsets(text, special)?;
        let mut begun = 0;
        let spans = offsets.windows(2).map(|bounds| {
            let bytes = &text[bounds[0] as usize..bounds[1] as usize];
            // A token that begins within a character covers that one, too.
            let first =
                begun - u64::from(begun > 0 && bytes.first().is_some_and(|&byte| continues(byte)));
            begun += bytes.iter().filter(|&&byte| !continues(byte)).count() as u64;
            [first, begun]
        });
        let spans = spans.collect();
        Ok((ids, spans))
    }
}
