//! Texts of records, gathered for a batch.

use std::io::BufRead;

use crate::batch::BatchReader;
use crate::error::LinesError;
use crate::reader::Line;
use crate::text_field::append_text;

/// Texts of a batch: an entry takes memory even if the text is empty.
const MAX_TEXTS: usize = 1 << 14;
/// Memory that is kept for the next texts.
const KEPT_BYTES: usize = 16 << 20;

/// Several texts, UTF-8, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Is there no text?
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Are there `enough_bytes` of text, or as many texts as a batch may hold, however short they are?
    pub fn has(&self, enough_bytes: usize) -> bool {
        self.bytes.len() >= enough_bytes || self.ends.len() >= MAX_TEXTS
    }

    /// Appends a text.
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// Removes all texts and keeps memory for others, but not that of a text of unusual size.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.ends.clear();
    }

    /// Appends the string under `key` of a line; whether the line is so simple that it could.
    pub fn push_field(&mut self, line: &[u8], key: &str) -> bool {
        let is_found = append_text(line, key, &mut self.bytes);
        if is_found {
            self.ends.push(self.bytes.len());
        }
        is_found
    }
}

/// A line that is kept after the reader has gone on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedLine {
    /// As [`Line::number`].
    pub number: u64,
    /// As [`Line::byte_offset`].
    pub byte_offset: u64,
    /// As [`Line::content`].
    pub content: Vec<u8>,
    /// As [`Line::size`].
    pub size: u64,
    /// As [`Line::is_ended`].
    pub is_ended: bool,
}

impl OwnedLine {
    /// The same, borrowed.
    pub fn as_line(&self) -> Line<'_> {
        Line {
            number: self.number,
            byte_offset: self.byte_offset,
            content: &self.content,
            size: self.size,
            is_ended: self.is_ended,
        }
    }
}

impl From<Line<'_>> for OwnedLine {
    fn from(line: Line<'_>) -> Self {
        Self {
            number: line.number,
            byte_offset: line.byte_offset,
            content: line.content.to_vec(),
            size: line.size,
            is_ended: line.is_ended,
        }
    }
}

/// Why no more texts were gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gathered {
    /// There are as many as the caller wanted.
    Enough,
    /// The next line is not simple; it is for the caller to read.
    Left(OwnedLine),
    /// The stream ended.
    End,
}

impl<R: BufRead> BatchReader<R> {
    /// Appends to `texts` the strings under `key` of the lines that follow, until `texts` holds `enough_bytes`. What is
    /// appended is what [`append_text`] takes.
    ///
    /// # Errors
    /// As [`crate::LineReader::next_line`]. After some texts an error comes with the next call, as if they were enough.
    pub fn gather_texts(
        &mut self,
        key: &str,
        max_line_bytes: u64,
        enough_bytes: usize,
        texts: &mut Texts,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Gathered, LinesError> {
        self.limit(max_line_bytes)?;
        let before = texts.len();
        while !texts.has(enough_bytes) {
            match self.next_line(should_continue) {
                Ok(None) => return Ok(Gathered::End),
                Ok(Some(line)) if line.is_whole() && texts.push_field(line.content, key) => {}
                Ok(Some(line)) => return Ok(Gathered::Left(line.into())),
                Err(error) if texts.len() == before => return Err(error),
                Err(error) => {
                    self.fail_next(error);
                    break;
                }
            }
        }
        Ok(Gathered::Enough)
    }
}
