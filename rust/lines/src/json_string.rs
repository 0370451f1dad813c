//! Strings of JSON, unescaped in blocks of 64 bytes.

const BLOCK: usize = 64;

/// Appends what the string says that begins at byte `at` of `text`, after its opening quote, and returns the byte after
/// its closing quote. UTF-8 stays UTF-8.
///
/// Gives `None`, with a part of the string appended, for a string that is not closed, a control character, an escape that
/// JSON does not have, and half a character ("\ud83d" without its other half).
pub fn append_string(text: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let end = out.len();
    // A string is not longer than its spelling; whole blocks are copied, so there is room for one more.
    out.resize(end + text.len().saturating_sub(at) + BLOCK, 0);
    let mut copy = Copy { text, at, out, end };
    let closed = copy.unescape();
    let end = copy.end;
    out.truncate(end);
    closed
}

/// The character that an escape of one letter means; 0 for other bytes. A table, as which letter comes cannot be
/// predicted.
const ESCAPED: [u8; 256] = {
    let mut table = [0; 256];
    let pairs = *b"\"\"\\\\//b\x08f\x0cn\nr\rt\t";
    let mut place = 0;
    while place < pairs.len() {
        table[pairs[place] as usize] = pairs[place + 1];
        place += 2;
    }
    table
};

/// A string on its way from `text[at..]` to `out[end..]`.
struct Copy<'a> {
    text: &'a [u8],
    at: usize,
    out: &'a mut [u8],
    end: usize,
}

impl Copy<'_> {
    /// Copies up to the closing quote; the byte after it.
    fn unescape(&mut self) -> Option<usize> {
        let mut start = self.at;
        while start < self.text.len() {
            let mut found = special_bytes(&self.block(start));
            loop {
                // An escape may end in a later block, and its bytes are not special.
                let skipped = (self.at - start).min(BLOCK) as u32;
                found &= u64::MAX.checked_shl(skipped).unwrap_or(0);
                if found == 0 {
                    break;
                }
                self.copy_to(start + found.trailing_zeros() as usize);
                match self.text.get(self.at)? {
                    b'"' => return Some(self.at + 1),
                    b'\\' => self.escape()?,
                    _ => return None,
                }
            }
            start += BLOCK;
            self.copy_to(start.min(self.text.len()).max(self.at));
        }
        None
    }

    /// The bytes from `start` on; zeros, which are special, after the end.
    fn block(&self, start: usize) -> [u8; BLOCK] {
        let rest = &self.text[start..];
        rest.first_chunk().copied().unwrap_or_else(|| {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            block
        })
    }

    /// Copies the bytes before `stop`, at most a block.
    #[inline(always)]
    fn copy_to(&mut self, stop: usize) {
        let size = stop - self.at;
        let from = &self.text[self.at..];
        let to = &mut self.out[self.end..];
        match (from.first_chunk::<BLOCK>(), to.first_chunk_mut::<BLOCK>()) {
            // Of constant size; what is too much is overwritten.
            (Some(from), Some(to)) => *to = *from,
            _ => copy_end(from, to, size),
        }
        self.at = stop;
        self.end += size;
    }

    /// Takes an escape; `at` is its backslash.
    #[inline(always)]
    fn escape(&mut self) -> Option<()> {
        let character = ESCAPED[usize::from(*self.text.get(self.at + 1)?)];
        if character == 0 {
            return self.code_point();
        }
        self.out[self.end] = character;
        self.end += 1;
        self.at += 2;
        Some(())
    }

    /// Takes an escape of four digits, or of a pair of surrogates.
    fn code_point(&mut self) -> Option<()> {
        if self.text[self.at + 1] != b'u' {
            return None;
        }
        let (character, size) = code_point(self.text, self.at + 2)?;
        let room = &mut self.out[self.end..];
        self.end += character.encode_utf8(room).len();
        self.at += size;
        Some(())
    }
}

/// Copies what is near the end of the text. Kept apart, or compilers make one call of unknown size of both.
#[cold]
#[inline(never)]
fn copy_end(from: &[u8], to: &mut [u8], size: usize) {
    to[..size].copy_from_slice(&from[..size]);
}

/// A bit for each byte that is a quote, a backslash or a control character.
fn special_bytes(block: &[u8; BLOCK]) -> u64 {
    // One loop without branches, which compilers turn into vector instructions, and one product for eight bytes.
    let mut flags = [0; BLOCK];
    for (flag, byte) in flags.iter_mut().zip(block) {
        *flag = u8::from(*byte == b'"') | u8::from(*byte == b'\\') | u8::from(*byte < 0x20);
    }
    let (words, _) = flags.as_chunks::<8>();
    let bits = words.iter().map(|word| {
        // The flag of byte i is bit 8 i; the product moves it to bit 56 + i, and no two sums meet.
        u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56
    });
    bits.rev().fold(0, |bits, byte| bits << 8 | byte)
}

/// The character of the four digits at `at`, or of a pair of surrogates, and the bytes of the escape.
fn code_point(text: &[u8], at: usize) -> Option<(char, usize)> {
    let code = code_unit(text, at)?;
    if !(0xd800..0xdc00).contains(&code) {
        return Some((char::from_u32(code)?, 6));
    }
    let low = match text.get(at + 4..at + 6)? {
        b"\\u" => code_unit(text, at + 6)?,
        _ => return None,
    };
    let is_low = (0xdc00..0xe000).contains(&low);
    let code = 0x10000 + ((code - 0xd800) << 10 | (low & 0x3ff));
    Some((char::from_u32(code).filter(|_| is_low)?, 12))
}

/// The number of four hexadecimal digits.
fn code_unit(text: &[u8], at: usize) -> Option<u32> {
    let mut code = 0;
    for digit in text.get(at..at + 4)? {
        code = code << 4 | char::from(*digit).to_digit(16)?;
    }
    Some(code)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What serde_json makes of the string that begins `text`, and how much of the text that is.
    fn slowly(text: &[u8]) -> Option<(String, usize)> {
        let mut strings = serde_json::Deserializer::from_slice(text).into_iter::<String>();
        let found = strings.next()?.ok()?;
        Some((found, strings.byte_offset()))
    }

    fn quickly(text: &[u8]) -> Option<(String, usize)> {
        let mut out = b"before".to_vec();
        let end = append_string(text, 1, &mut out)?;
        let said = out.strip_prefix(b"before").unwrap().to_vec();
        Some((String::from_utf8(said).unwrap(), end))
    }

    #[test]
    fn every_byte_at_every_place_is_read_as_serde_json_reads_it() {
        for byte in 0..0x80 {
            for place in 0..140 {
                let mut text = b"\" ".to_vec();
                text.splice(1..1, [b'a'; 140]);
                text[1 + place] = byte;
                assert_eq!(quickly(&text), slowly(&text), "{byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn strings_with_escapes_are_those_of_serde_json(
            parts in prop::collection::vec(
                prop_oneof![
                    "[a-z é\u{20ac}\u{1f600}]{0,40}",
                    r#"\\["\\/bfnrtux]"#,
                    r"\\u[0-9a-fD]{3,4}",
                    r"\\u[dD][89ab][0-9]{2}\\u[dD][c-f][0-9a-f]{2}",
                    "\\PC{0,3}",
                    any::<char>().prop_map(String::from),
                ],
                0..12,
            )
        ) {
            let text = format!("\"{}\" ", parts.concat()).into_bytes();
            prop_assert_eq!(quickly(&text), slowly(&text));
        }
    }
}
