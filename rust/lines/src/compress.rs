//! Writing compressed text.

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// One zstd frame that holds `bytes`. A file of such frames, one after the other, is what [`crate::TextFile`] reads.
#[must_use]
pub fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}
