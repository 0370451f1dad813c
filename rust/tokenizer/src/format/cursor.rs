//! A position in the text of a JSON file, to read its largest parts without first finding out their types.
//!
//! Unusual JSON gives `None` here; a complete JSON parser then reads it.

use super::values::Text;
use serde::Deserialize;
use std::borrow::Cow;

/// A position in a text.
pub struct Cursor<'f> {
    text: &'f str,
    at: usize,
}

impl<'f> Cursor<'f> {
    /// The beginning of `text`.
    pub fn of(text: &'f str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not white space; `None` at the end.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            let &byte = self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Skips `byte` if it comes next, apart from white space.
    #[inline]
    pub fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    /// Reads a list or an object; `entry` reads each entry.
    #[inline]
    pub fn entries(
        &mut self,
        [open, close]: [u8; 2],
        mut entry: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            entry(self)?;
            if self.take(b',').is_none() {
                return self.take(close);
            }
        }
    }

    /// A string, owned only if the file escapes a character of it.
    #[inline]
    pub fn string(&mut self) -> Option<Cow<'f, str>> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let end = start + plain(&self.text.as_bytes()[start..]);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Some(Cow::Borrowed(&self.text[start..end]));
        }
        self.value::<Text<'f>>().map(|text| text.0)
    }

    /// A whole number below 1,000,000,000.
    #[inline]
    pub fn number(&mut self) -> Option<u32> {
        let first = self.peek()?;
        let digits = self.text.as_bytes()[self.at..].iter().take(10);
        let (mut number, mut count) = (0, 0);
        for digit in digits.take_while(|byte| byte.is_ascii_digit()) {
            number = number * 10 + u64::from(digit - b'0');
            count += 1;
        }
        self.at += count;
        let is_written_so = (1..10).contains(&count) && (first != b'0' || count == 1);
        is_written_so.then_some(number as u32)
    }

    /// Any other value.
    pub fn value<T: Deserialize<'f>>(&mut self) -> Option<T> {
        let rest = serde_json::Deserializer::from_str(&self.text[self.at..]);
        let mut values = rest.into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }
}

/// How many bytes come before the first quotation mark, backslash or control character.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The high bits of bytes below `bound`, correct up to the first such byte (S. E. Anderson, *Bit Twiddling Hacks*).
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGHS;
    let (words, _) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = below(word, 0x20) | is(b'"') | is(b'\\');
        if found != 0 {
            return place * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let rest = words.len() * 8;
    let is_plain = |byte: &&u8| !matches!(**byte, b'"' | b'\\' | 0..0x20);
    rest + bytes[rest..].iter().take_while(is_plain).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_and_numbers_are_those_of_json(text in "[a\"\\\\u0éé😀 \n]{0,12}|-?[0-9]{0,11}[.e]?", shift in 0_usize..9) {
            let padded = format!("{}{text}\",", " ".repeat(shift));
            let quoted = format!("{}\"{text}\",", " ".repeat(shift));
            for text in [&padded, &quoted] {
                let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
                let known = values.next().and_then(Result::ok);
                let mut cursor = Cursor::of(text);
                prop_assert_eq!(cursor.string().map(Cow::into_owned), known.clone());
                prop_assert!(known.is_none() || cursor.at == values.byte_offset());
            }
            let number = format!("{text},");
            let mut cursor = Cursor::of(&number);
            if let Some(read) = cursor.number().filter(|_| cursor.take(b',').is_some()) {
                prop_assert_eq!(serde_json::from_str::<u32>(&text).ok(), Some(read));
            }
        }

        #[test]
        fn plain_bytes_are_counted(bytes in proptest::collection::vec(prop_oneof![4 => any::<u8>(), 20 => 0x20_u8..0x7F, 1 => Just(0x1F), 1 => Just(b'"')], 0..40)) {
            let is_plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
            prop_assert_eq!(plain(&bytes), bytes.iter().take_while(is_plain).count());
        }
    }

    #[test]
    fn entries_are_separated_by_commas() {
        let read = |text| {
            let mut numbers = Vec::new();
            let mut cursor = Cursor::of(text);
            let end = cursor.entries(*b"[]", |cursor| {
                numbers.push(cursor.number()?);
                Some(())
            });
            end.map(|()| (numbers, cursor.peek()))
        };
        assert_eq!(read(" [ ] x"), Some((vec![], Some(b'x'))));
        assert_eq!(read("[1 ,\n2]"), Some((vec![1, 2], None)));
        for wrong in ["", "1", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1}"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
