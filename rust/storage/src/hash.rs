//! BLAKE3 of a file and of each of its 64 MiB chunks, in one pass.
//!
//! A chunk of 2^k KiB that starts at a multiple of its size is a subtree of BLAKE3's hash tree, so the file's hash
//! is put together from the chunks' chaining values and no byte is hashed twice ("BLAKE3: one function, fast
//! everywhere", section 2.1). The file's hash is what `b3sum` prints.

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use serde::{Deserialize, Serialize};

/// Bytes covered by one chunk checksum. A power of two, as the hash tree asks.
pub const CHUNK_BYTES: u64 = 64 << 20;

/// What a manifest says about one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Length of the file in bytes.
    pub size: u64,
    /// BLAKE3 of the whole file, 64 hexadecimal digits.
    pub blake3: String,
    /// Chaining value of each 64 MiB chunk in hexadecimal; empty if the file is one chunk, which `blake3` covers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<String>,
}

/// The running hash of a file that is written or read from its start.
pub struct FileHasher {
    chunk_bytes: u64,
    size: u64,
    current: blake3::Hasher,
    done: Vec<ChainingValue>,
}

impl Default for FileHasher {
    fn default() -> Self {
        Self::with_chunk_bytes(CHUNK_BYTES)
    }
}

impl FileHasher {
    /// A hasher with another chunk size, which must be a power of two of at least 1,024.
    fn with_chunk_bytes(chunk_bytes: u64) -> Self {
        Self {
            chunk_bytes,
            size: 0,
            current: blake3::Hasher::new(),
            done: Vec::new(),
        }
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = self.size - self.chunk_bytes * self.done.len() as u64;
            // A chunk is closed when the next byte comes, so that the last chunk is never empty.
            if within == self.chunk_bytes {
                self.done.push(self.current.finalize_non_root());
                self.current = blake3::Hasher::new();
                self.current.set_input_offset(self.size);
                continue;
            }
            let take = bytes.len().min((self.chunk_bytes - within) as usize);
            self.current.update(&bytes[..take]);
            self.size += take as u64;
            bytes = &bytes[take..];
        }
    }

    /// Size and hashes of everything taken.
    pub fn finish(mut self) -> FileRecord {
        if self.done.is_empty() {
            let blake3 = self.current.finalize().to_hex().to_string();
            return FileRecord {
                size: self.size,
                blake3,
                chunks: Vec::new(),
            };
        }
        self.done.push(self.current.finalize_non_root());
        let (left, right) = self.done.split_at(left_chunks(self.done.len()));
        let root = merge_subtrees_root(&merge(left), &merge(right), Mode::Hash);
        let chunks = self
            .done
            .iter()
            .map(|value| blake3::Hash::from(*value).to_hex().to_string())
            .collect();
        FileRecord {
            size: self.size,
            blake3: root.to_hex().to_string(),
            chunks,
        }
    }
}

/// The chaining value over neighboring chunks, of which there is at least one.
fn merge(chunks: &[ChainingValue]) -> ChainingValue {
    if let [only] = chunks {
        return *only;
    }
    let (left, right) = chunks.split_at(left_chunks(chunks.len()));
    merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
}

/// Chunks in the left subtree of `count >= 2` chunks: the largest power of two below `count`.
fn left_chunks(count: usize) -> usize {
    count.div_ceil(2).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(bytes: &[u8], chunk_bytes: u64, step: usize) -> FileRecord {
        let mut hasher = FileHasher::with_chunk_bytes(chunk_bytes);
        bytes.chunks(step).for_each(|part| hasher.update(part));
        hasher.finish()
    }

    #[test]
    fn the_whole_hash_is_plain_blake3_at_every_chunk_boundary() {
        let bytes: Vec<u8> = (0..9 * 1024 + 7).map(|i| (i % 251) as u8).collect();
        for chunks in 0..=9_usize {
            for size in [
                chunks * 1024,
                (chunks * 1024).saturating_sub(1),
                chunks * 1024 + 1,
            ] {
                let found = record(&bytes[..size], 1024, 700);
                assert_eq!(
                    found.blake3,
                    blake3::hash(&bytes[..size]).to_hex().as_str(),
                    "size {size}"
                );
                assert_eq!(
                    found.chunks.len(),
                    if size <= 1024 { 0 } else { size.div_ceil(1024) }
                );
            }
        }
    }

    #[test]
    fn a_changed_byte_changes_its_own_chunk_only() {
        let mut bytes = vec![7_u8; 5000];
        let before = record(&bytes, 1024, 4096);
        bytes[2100] ^= 1;
        let after = record(&bytes, 1024, 4096);
        let differing: Vec<usize> = (0..5)
            .filter(|&i| before.chunks[i] != after.chunks[i])
            .collect();
        assert_eq!(differing, [2]);
        assert_ne!(before.blake3, after.blake3);
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_does_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..20_000), step in 1..5000_usize, power in 0..4_u32) {
            let found = record(&bytes, 1024 << power, step);
            prop_assert_eq!(found.blake3, blake3::hash(&bytes).to_hex().to_string());
            prop_assert_eq!(found.size, bytes.len() as u64);
        }
    }
}
