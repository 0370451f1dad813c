//! The alphabet in which `tokenizer.json` writes bytes: one printable character per byte (GPT-2's table).
//!
//! Printable Latin-1 characters represent themselves, the 68 other bytes are U+0100, U+0101, ... in order.

/// Whether a byte is written as the Latin-1 character of the same number.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character of each byte.
pub const CHARACTERS: [char; 256] = characters();

const fn characters() -> [char; 256] {
    let mut table = ['\0'; 256];
    let (mut byte, mut shifted) = (0, 0x100_u32);
    while byte < 256 {
        table[byte] = if is_printable(byte as u8) {
            byte as u8 as char
        } else {
            shifted += 1;
            match char::from_u32(shifted - 1) {
                Some(character) => character,
                None => '\0',
            }
        };
        byte += 1;
    }
    table
}

/// Every byte, in the order of its character: the order in which a trainer numbers them.
pub fn alphabet() -> [u8; 256] {
    let mut bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    bytes.sort_by_key(|&byte| CHARACTERS[usize::from(byte)]);
    bytes
}

/// Bytes that represent themselves come first, so the last character is U+0100 + 67.
const CHARACTER_CODES: usize = 0x144;

/// The byte of each character, by code point; [`u16::MAX`] for a character that represents none.
const BYTES: [u16; CHARACTER_CODES] = bytes();

const fn bytes() -> [u16; CHARACTER_CODES] {
    let mut table = [u16::MAX; CHARACTER_CODES];
    let mut byte = 0;
    while byte < 256 {
        table[CHARACTERS[byte] as usize] = byte as u16;
        byte += 1;
    }
    table
}

/// The byte that a character represents.
pub fn byte_of(character: char) -> Option<u8> {
    BYTES
        .get(character as usize)
        .and_then(|&byte| u8::try_from(byte).ok())
}

/// `bytes` as `tokenizer.json` writes them.
pub fn write(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| CHARACTERS[usize::from(byte)])
        .collect()
}

/// The bytes that a string represents; `None` if it holds a character that represents no byte.
pub fn read(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    append(text, &mut bytes).then_some(bytes)
}

/// Appends the bytes that a string represents; nothing, and `false`, if it holds a character that represents no byte.
pub fn append(text: &str, bytes: &mut Vec<u8>) -> bool {
    let before = bytes.len();
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(before);
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(read(&write(&all)), Some(all.clone()));
        assert_eq!(write(b" \n"), "ĠĊ");
        let mut bytes = b"a".to_vec();
        assert!(!append("a b", &mut bytes));
        assert_eq!(bytes, b"a");
    }

    #[test]
    fn the_alphabet_starts_with_the_printable_bytes_and_ends_with_the_soft_hyphen() {
        let order = alphabet();
        assert_eq!(&order[..3], b"!\"#");
        assert_eq!(order[187], 0xFF);
        assert_eq!(order[188], 0);
        assert_eq!(order[255], 0xAD);
    }
}
