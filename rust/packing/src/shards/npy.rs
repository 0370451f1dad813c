//! The header of a one-dimensional `.npy` file, version 1.0, always 128 bytes.
//!
//! numpy reads the files as they are, and readers of headerless formats can point past a header of known size.

/// Bytes in front of the data.
pub const HEADER_BYTES: usize = 128;

/// Element types of shard files, all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// Loss masks.
    U8,
    /// Tokens of a vocabulary of at most 65,536.
    U16,
    /// Tokens of a larger vocabulary.
    U32,
    /// Offsets and document ids.
    U64,
}

impl Dtype {
    /// The narrowest type that holds every id below `vocab_size`.
    pub fn of_vocabulary(vocab_size: u32) -> Self {
        if vocab_size <= 1 << 16 {
            Self::U16
        } else {
            Self::U32
        }
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }

    fn descr(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::U16 => "<u2",
            Self::U32 => "<u4",
            Self::U64 => "<u8",
        }
    }
}

/// The header of `count` elements of `dtype`.
pub fn header(dtype: Dtype, count: u64) -> [u8; HEADER_BYTES] {
    let mut header = [b' '; HEADER_BYTES];
    let length = (HEADER_BYTES - 10) as u16;
    let text = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({count},), }}",
        dtype.descr()
    );
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&length.to_le_bytes());
    // At most 78 characters of the 117: u64 has 20 digits.
    header[10..10 + text.len()].copy_from_slice(text.as_bytes());
    header[HEADER_BYTES - 1] = b'\n';
    header
}

/// Bytes of a whole file; `None` if no file can have that size (2^63 or more).
pub fn file_bytes(dtype: Dtype, count: u64) -> Option<u64> {
    count
        .checked_mul(dtype.bytes() as u64)?
        .checked_add(HEADER_BYTES as u64)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_header_fits_and_is_aligned() {
        let header = header(Dtype::U64, u64::MAX);
        assert_eq!(header[HEADER_BYTES - 1], b'\n');
        assert_eq!(HEADER_BYTES % 64, 0);
        assert!(header[10..].starts_with(
            b"{'descr': '<u8', 'fortran_order': False, 'shape': (18446744073709551615,), }"
        ));
    }

    #[test]
    fn two_bytes_hold_ids_of_exactly_65_536_tokens() {
        assert_eq!(Dtype::of_vocabulary(65_536), Dtype::U16);
        assert_eq!(Dtype::of_vocabulary(65_537), Dtype::U32);
    }
}
