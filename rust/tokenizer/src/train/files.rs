//! Reads text files in blocks, split where that changes no pre-token: a file of any size takes the memory of a block.

use super::split::{SplitRule, last_split};
use crate::error::{Result, TokenizerError};
use stategpt_storage::open_regular;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes to read at a time: enough work for several threads, little memory.
pub const BLOCK: usize = 8 << 20;
/// The maximum size of a block.
const MAX_UNSPLIT_BYTES: usize = 1 << 30;

/// The text of a file, block by block.
pub struct Blocks<'p> {
    path: &'p Path,
    file: File,
    split_rule: SplitRule,
    /// Invalid UTF-8 becomes U+FFFD, instead of an error.
    replace: bool,
    /// Bytes to read at a time.
    block: usize,
    /// Bytes that are read and not decoded yet: an incomplete character at the end of a block.
    raw: Vec<u8>,
    /// Offset in the file of `raw`.
    offset: usize,
    /// Text that is not returned yet.
    text: Vec<u8>,
    /// How much of it was returned last time.
    handed: usize,
}

impl<'p> Blocks<'p> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`TokenizerError::Io`].
    pub fn open(
        path: &'p Path,
        split_rule: SplitRule,
        replace: bool,
        block: usize,
    ) -> Result<Self> {
        Ok(Self {
            path,
            file: open_regular(path).map_err(|source| unreadable(path, source))?,
            split_rule,
            replace,
            block,
            raw: Vec::new(),
            offset: 0,
            text: Vec::new(),
            handed: 0,
        })
    }

    /// The next block; `None` after the last. A block grows while it has no split point.
    ///
    /// # Errors
    /// [`TokenizerError::Io`]; [`TokenizerError::Corpus`] if a block grows beyond 1 GiB; [`TokenizerError::NotUtf8`] with the first bad byte, unless `replace`.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        self.text.drain(..self.handed);
        self.handed = 0;
        let mut searched = 0;
        loop {
            let ended = self.read()? == 0;
            self.check(ended)?;
            if ended {
                self.handed = self.text.len();
                break;
            }
            if let Some(at) = last_split(self.split_rule, &self.text, searched..self.text.len()) {
                self.handed = at;
                break;
            }
            searched = self.text.len();
            if searched > MAX_UNSPLIT_BYTES {
                return Err(TokenizerError::Corpus {
                    documents: 1,
                    bytes: searched as u64,
                    problem: "no white space or punctuation after a letter or number in 1 GiB; break the file into lines",
                });
            }
        }
        Ok((self.handed > 0).then(|| &self.text[..self.handed]))
    }

    fn read(&mut self) -> Result<usize> {
        self.file
            .by_ref()
            .take(self.block as u64)
            .read_to_end(&mut self.raw)
            .map_err(|source| unreadable(self.path, source))
    }

    /// Moves valid UTF-8, or what replaces invalid bytes, from `raw` to `text`.
    fn check(&mut self, ended: bool) -> Result<()> {
        let mut valid = 0;
        for chunk in self.raw.utf8_chunks() {
            self.text.extend_from_slice(chunk.valid().as_bytes());
            valid += chunk.valid().len();
            let wrong = chunk.invalid();
            let is_beginning = || {
                std::str::from_utf8(wrong).is_err_and(|error| error.error_len().is_none())
                    && valid + wrong.len() == self.raw.len()
            };
            match () {
                () if wrong.is_empty() || !ended && is_beginning() => break,
                () if self.replace => self.text.extend_from_slice("\u{FFFD}".as_bytes()),
                () => {
                    return Err(TokenizerError::NotUtf8 {
                        path: self.path.to_owned(),
                        offset: self.offset + valid,
                    });
                }
            }
            valid += wrong.len();
        }
        self.raw.drain(..valid);
        self.offset += valid;
        Ok(())
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> TokenizerError {
    TokenizerError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;
    use crate::train::Documents;
    use proptest::prelude::*;

    fn blocks_of(
        bytes: &[u8],
        rule: Documents,
        replace: bool,
        block: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, bytes).unwrap();
        let mut blocks = Blocks::open(
            &path,
            SplitRule::of(&Pattern::Gpt4.into(), rule),
            replace,
            block,
        )?;
        let mut read = Vec::new();
        while let Some(text) = blocks.next()? {
            read.push(text.to_vec());
        }
        Ok(read)
    }

    proptest! {
        #[test]
        fn blocks_are_the_file(bytes in prop::collection::vec(prop::sample::select(b"ab \n\xC3\xA9\xE4\xB8\xAD\xF0\xFF".to_vec()), 0..80), block in 1_usize..20) {
            for rule in [Documents::Whole, Documents::Lines] {
                let lossy = String::from_utf8_lossy(&bytes).into_owned().into_bytes();
                prop_assert_eq!(blocks_of(&bytes, rule, true, block).unwrap().concat(), lossy);
                match (std::str::from_utf8(&bytes), blocks_of(&bytes, rule, false, block)) {
                    (Ok(_), Ok(read)) => prop_assert_eq!(read.concat(), &bytes[..]),
                    (Err(wrong), Err(TokenizerError::NotUtf8 { offset, .. })) => {
                        prop_assert_eq!(offset, wrong.valid_up_to());
                    }
                    (expected, read) => prop_assert!(false, "{:?} {:?}", expected, read),
                }
            }
        }
    }

    #[test]
    fn blocks_stay_small_if_the_text_has_split_points() {
        let text = "some words and more words ".repeat(100);
        let read = blocks_of(text.as_bytes(), Documents::Whole, false, 100).unwrap();
        assert!(read.iter().all(|block| block.len() <= 110), "{read:?}");
    }
}
