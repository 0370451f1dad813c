//! Temporary files without a name: the system removes them with the last handle, also after a crash.
//!
//! What is written are blocks with a checksum each; a block that reads back differently is an error.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::minhash::hash_bytes;

const CHECKSUM: usize = 8;
/// Small blocks are written together.
const WRITE_BYTES: usize = 1 << 18;

/// A temporary file of blocks.
pub struct Spill {
    file: File,
    folder: PathBuf,
    /// Bytes in the file.
    written: u64,
    /// What follows them.
    pending: Vec<u8>,
}

impl Spill {
    /// An empty file in `folder`.
    pub fn new(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder)
            .map_err(|source| Error::temporary("create", folder, 0, source))?;
        Ok(Self {
            file,
            folder: folder.to_owned(),
            written: 0,
            pending: Vec::new(),
        })
    }

    /// Appends a block; returns its offset.
    pub fn append(&mut self, block: &[u8]) -> Result<u64> {
        if self.pending.len() + block.len() + CHECKSUM > WRITE_BYTES {
            self.flush()?;
        }
        let offset = self.written + self.pending.len() as u64;
        self.pending.extend_from_slice(block);
        let checksum = hash_bytes(block, offset);
        self.pending.extend_from_slice(&checksum.to_le_bytes());
        Ok(offset)
    }

    /// Writes what is pending; blocks can be read afterwards.
    pub fn flush(&mut self) -> Result<()> {
        self.file
            .write_all(&self.pending)
            .map_err(|source| Error::temporary("write", &self.folder, self.written, source))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Reads the block at `offset` that has `len` bytes into `block`.
    pub fn read(&self, offset: u64, len: usize, block: &mut Vec<u8>) -> Result<()> {
        block.resize(len + CHECKSUM, 0);
        self.file
            .read_exact_at(block, offset)
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::UnexpectedEof => self.damaged(offset),
                _ => Error::temporary("read", &self.folder, self.written, source),
            })?;
        let expected = hash_bytes(&block[..len], offset).to_le_bytes();
        if block[len..] != expected {
            return Err(self.damaged(offset));
        }
        block.truncate(len);
        Ok(())
    }

    /// Bytes from a block of `len` bytes to the next one.
    pub fn block_bytes(len: usize) -> u64 {
        (len + CHECKSUM) as u64
    }

    /// Bytes on disk and pending.
    pub fn disk_bytes(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.pending.capacity()
    }

    fn damaged(&self, offset: u64) -> Error {
        Error::Damaged {
            folder: self.folder.clone(),
            offset,
        }
    }

    #[cfg(test)]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spill_of(blocks: &[&[u8]]) -> (Spill, Vec<u64>) {
        let folder = std::env::temp_dir();
        let mut spill = Spill::new(&folder).unwrap();
        let offsets = blocks
            .iter()
            .map(|block| spill.append(block).unwrap())
            .collect();
        spill.flush().unwrap();
        (spill, offsets)
    }

    #[test]
    fn blocks_read_back() {
        let long = vec![7; 3 * WRITE_BYTES];
        let blocks: [&[u8]; 4] = [b"first", b"", &long, b"last"];
        let (spill, offsets) = spill_of(&blocks);
        let mut read = Vec::new();
        for (block, offset) in blocks.iter().zip(&offsets).rev() {
            spill.read(*offset, block.len(), &mut read).unwrap();
            assert_eq!(&read, block);
        }
    }

    #[test]
    fn every_altered_byte_is_an_error() {
        let (spill, offsets) = spill_of(&[b"some block", b"another"]);
        let mut read = Vec::new();
        for at in 0..10 + CHECKSUM as u64 {
            let mut byte = [0];
            spill.file().read_exact_at(&mut byte, at).unwrap();
            spill.file().write_all_at(&[byte[0] ^ 4], at).unwrap();
            let error = spill.read(offsets[0], 10, &mut read).unwrap_err();
            assert!(matches!(error, Error::Damaged { offset: 0, .. }));
            spill.file().write_all_at(&byte, at).unwrap();
        }
        spill.read(offsets[0], 10, &mut read).unwrap();
    }

    #[test]
    fn a_shortened_file_and_a_block_at_another_place_are_errors() {
        let (spill, offsets) = spill_of(&[b"equal", b"equal"]);
        let mut block = [0; 5 + CHECKSUM];
        spill.file().read_exact_at(&mut block, 0).unwrap();
        spill.file().write_all_at(&block, offsets[1]).unwrap();
        let mut read = Vec::new();
        assert!(spill.read(offsets[1], 5, &mut read).is_err());
        spill.file().set_len(offsets[1] + 3).unwrap();
        let error = spill.read(offsets[1], 5, &mut read).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error_that_names_it() {
        let error = Spill::new(Path::new("/nowhere/at/all")).err().unwrap();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
