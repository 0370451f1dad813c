//! How far a compressed file may expand: a few bytes can unpack to more than a disk holds.

/// The limit on what a compressed file unpacks to: the larger of a fixed size and a multiple of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// Any file may unpack to this many bytes, however small it is.
    pub free_bytes: u64,
    /// Beyond that, the maximum ratio of unpacked to packed bytes. Text shrinks 3 to 10 times; gzip's format allows
    /// 1,032 times, zstd's 32,768 times.
    pub max_ratio: u64,
}

impl Default for Expansion {
    fn default() -> Self {
        Self {
            free_bytes: 64 << 20,
            max_ratio: 128,
        }
    }
}

impl Expansion {
    pub(crate) fn allows(&self, unpacked: u64, packed: u64) -> bool {
        unpacked <= self.free_bytes.max(self.max_ratio.saturating_mul(packed))
    }
}
