//! Where in the text each token lies, in bytes and in characters.

use crate::tokenizer::{Special, Tokenizer};

impl Tokenizer {
    /// The ids of `text`, and the byte offset at which each begins, followed by the length of the text.
    pub fn encode_with_offsets(&self, text: &[u8], special: Special) -> (Vec<u32>, Vec<u64>) {
        let ids = self.encode(text, special);
        let mut offsets = Vec::with_capacity(ids.len() + 1);
        let mut at = 0;
        offsets.push(0);
        offsets.extend(ids.iter().map(|&id| {
            at += self.model().tokens.get(id).len() as u64;
            at
        }));
        (ids, offsets)
    }

    /// The ids of `text`, and the characters each covers: `[first, one beyond the last]`. Tokens that share a character all cover
    /// it. A byte that continues no character counts to the one before.
    pub fn encode_with_spans(&self, text: &[u8], special: Special) -> (Vec<u32>, Vec<[u64; 2]>) {
        let (ids, offsets) = self.encode_with_offsets(text, special);
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
        (ids, spans)
    }
}

/// Whether a byte of UTF-8 is not the first of its character.
fn continues(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}
