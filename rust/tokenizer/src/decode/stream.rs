//! Streaming decoder: returns text as soon as its bytes are whole characters, and loses none.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Bytes of an incomplete character, at most three.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    pending: Vec<u8>,
}

impl StreamDecoder {
    /// The text that `id` completes; empty while a character is incomplete. O(bytes of the token).
    ///
    /// Bytes that cannot be part of a character become U+FFFD, so that all pushes and [`StreamDecoder::finish`] together give the
    /// same text as decoding all ids at once.
    ///
    /// # Errors
    /// [`crate::TokenizerError::UnknownToken`] for an id outside the vocabulary; the decoder is unchanged.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String> {
        self.pending.extend_from_slice(tokenizer.token_bytes(id)?);
        let held = self.pending.len() - unfinished(&self.pending);
        let text = String::from_utf8_lossy(&self.pending[..held]).into_owned();
        self.pending.drain(..held);
        Ok(text)
    }

    /// The rest of the text: U+FFFD for an incomplete character, or nothing.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

/// The number of bytes at the end that begin a character which more bytes could complete.
fn unfinished(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|&count| {
            let tail = &bytes[bytes.len() - count..];
            // `error_len() == None` means "ended too early" in the standard library.
            tail[0] >= 0xC2
                && std::str::from_utf8(tail)
                    .is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::unfinished;

    #[test]
    fn only_an_incomplete_character_is_held_back() {
        for (bytes, expected) in [
            (&b"ab"[..], 0),
            (&[0xC3], 1),
            (&[b'a', 0xE2, 0x82], 2),
            (&[0xF0, 0x9F, 0x92], 3),
            (&[0xE2, 0x82, 0xAC], 0),
            (&[0xE0, 0x80], 0),
            (&[0x82], 0),
            (&[0xFF], 0),
        ] {
            assert_eq!(unfinished(bytes), expected, "{bytes:x?}");
        }
    }
}
