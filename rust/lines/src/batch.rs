//! Lines in batches: for callers to whom a call per line is too dear.

use std::io::{BufRead, Read};

use crate::elements::ElementReader;
use crate::error::LinesError;
use crate::reader::{Line, LineReader};

/// A batch ends with the line that reaches this many bytes ...
const BATCH_BYTES: usize = 1 << 20;
/// ... or with this many lines: an entry takes memory even if its line is empty.
const BATCH_LINES: usize = 4096;

/// Several lines, their contents one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineBatch {
    contents: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    number: u64,
    byte_offset: u64,
    /// End of the content in `contents`.
    end: usize,
    size: u64,
    is_ended: bool,
}

impl LineBatch {
    /// The lines in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.end));
        starts.zip(&self.entries).map(|(start, entry)| Line {
            number: entry.number,
            byte_offset: entry.byte_offset,
            content: &self.contents[start..entry.end],
            size: entry.size,
            is_ended: entry.is_ended,
        })
    }

    fn push(&mut self, line: &Line<'_>) {
        self.contents.extend_from_slice(line.content);
        self.entries.push(Entry {
            number: line.number,
            byte_offset: line.byte_offset,
            end: self.contents.len(),
            size: line.size,
            is_ended: line.is_ended,
        });
    }

    fn is_full(&self) -> bool {
        self.contents.len() >= BATCH_BYTES || self.entries.len() >= BATCH_LINES
    }
}

/// What a batch is made of.
#[derive(Debug)]
enum Reader<R> {
    Lines(LineReader<R>),
    Elements(ElementReader<R>),
}

impl<R: BufRead> Reader<R> {
    fn source_mut(&mut self) -> &mut R {
        match self {
            Self::Lines(reader) => reader.source_mut(),
            Self::Elements(reader) => reader.source_mut(),
        }
    }

    fn limit(&mut self, max_bytes: u64) {
        match self {
            Self::Lines(reader) => reader.limit_lines(max_bytes),
            Self::Elements(reader) => reader.limit_elements(max_bytes),
        }
    }

    fn next(&mut self, should_continue: &dyn Fn() -> bool) -> Result<Option<Line<'_>>, LinesError> {
        match self {
            Self::Lines(reader) => reader.next_line(should_continue),
            Self::Elements(reader) => reader.next_element(should_continue),
        }
    }
}

/// Reads a stream in batches of about 1 MiB, or one longer line.
#[derive(Debug)]
pub struct BatchReader<R> {
    reader: Reader<R>,
    /// An error found after the lines of the last batch.
    failure: Option<LinesError>,
}

impl<R: BufRead> BatchReader<R> {
    /// Reads from where `source` is.
    pub fn new(source: R) -> Self {
        Self {
            reader: Reader::Lines(LineReader::new(source, 0)),
            failure: None,
        }
    }

    /// Reads the elements of the JSON array that `source` is, in the place of its lines.
    pub fn elements(source: R) -> Self {
        Self {
            reader: Reader::Elements(ElementReader::new(source, 0)),
            failure: None,
        }
    }

    /// The stream; what is read from it directly belongs to no line.
    pub fn source_mut(&mut self) -> &mut R {
        self.reader.source_mut()
    }

    /// Up to `size` bytes that belong to no line, fewer at the end only.
    ///
    /// # Errors
    /// What the stream fails with.
    pub fn read(&mut self, size: usize) -> Result<Vec<u8>, LinesError> {
        let mut bytes = Vec::new();
        self.source_mut()
            .take(size as u64)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Changes the limit for the lines that follow.
    ///
    /// # Errors
    /// One that was found after the lines of the last batch.
    pub(crate) fn limit(&mut self, max_line_bytes: u64) -> Result<(), LinesError> {
        self.reader.limit(max_line_bytes);
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Gives an error with the next call.
    pub(crate) fn fail_next(&mut self, error: LinesError) {
        self.failure = Some(error);
    }

    /// The next line or element.
    pub(crate) fn next_line(
        &mut self,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Option<Line<'_>>, LinesError> {
        self.reader.next(should_continue)
    }

    /// The next lines; none at the end.
    ///
    /// # Errors
    /// As [`LineReader::next_line`]. The lines before an error are a batch of their own, and the error comes next.
    pub fn next_batch(
        &mut self,
        max_line_bytes: u64,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<LineBatch, LinesError> {
        self.limit(max_line_bytes)?;
        let mut batch = LineBatch::default();
        while !batch.is_full() {
            match self.reader.next(should_continue) {
                Ok(Some(line)) => batch.push(&line),
                Ok(None) => break,
                Err(error) if batch.entries.is_empty() => return Err(error),
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        Ok(batch)
    }
}
