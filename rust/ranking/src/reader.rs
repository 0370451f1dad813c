//! Lines to groups, streaming: one line in memory, every line accounted for.

use std::collections::HashMap;
use std::io::BufRead;

use crate::error::Error;
use crate::group::Group;
use crate::parse::parse_group;
use crate::problem::Problem;

/// Longest line held in memory. A longer one is skipped to its end and rejected, so a file without newlines cannot
/// take the machine's memory: a parsed line takes at most some 16 times its bytes.
pub const MAX_LINE_BYTES: u64 = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A record that was not taken, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Line of the file, from 1.
    pub line: u64,
    /// Byte at which that line starts, from 0.
    pub byte_offset: u64,
    /// Why.
    pub problem: Problem,
}

/// What became of one line that was not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A valid record.
    Kept {
        /// Line of the file, from 1.
        line: u64,
        /// Byte at which that line starts, from 0.
        byte_offset: u64,
        /// The record.
        group: Group,
    },
    /// A malformed one.
    Rejected(Rejection),
}

/// Counts of what was read: `lines = kept + rejected + blank`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines of the input; text after the last newline is a line.
    pub lines: u64,
    /// Valid records.
    pub kept: u64,
    /// Malformed records.
    pub rejected: u64,
    /// Lines of white space only.
    pub blank: u64,
}

/// Iterates over the records of a JSONL source.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    max_line_bytes: u64,
    next_byte: u64,
    line_of_id: HashMap<String, u64>,
    summary: Summary,
    failed: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader from the start of `source`.
    pub fn new(source: R) -> Self {
        Self::with_line_limit(source, MAX_LINE_BYTES)
    }

    /// As `new`, with a line limit of the caller's.
    pub fn with_line_limit(source: R, max_line_bytes: u64) -> Self {
        Self {
            source,
            max_line_bytes,
            next_byte: 0,
            line_of_id: HashMap::new(),
            summary: Summary::default(),
            failed: false,
        }
    }

    /// What has been read so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// The next line without its end and its whole length in bytes, or `None` at the end of the source. Of an overlong
    /// line only the first `max_line_bytes` are kept.
    fn next_line(&mut self) -> std::io::Result<Option<(Vec<u8>, u64)>> {
        let (mut line, mut bytes) = (Vec::new(), 0);
        loop {
            let available = match self.source.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let end = available.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            let room = self.max_line_bytes.saturating_sub(line.len() as u64);
            let text = end.unwrap_or(taken);
            line.extend_from_slice(
                &available[..text.min(usize::try_from(room).unwrap_or(usize::MAX))],
            );
            bytes += text as u64;
            self.source.consume(taken);
            self.next_byte += taken as u64;
            if end.is_some() || (taken == 0 && bytes > 0) {
                return Ok(Some((line, bytes)));
            }
            if taken == 0 {
                return Ok(None);
            }
        }
    }

    fn group(&mut self, line: &[u8], bytes: u64) -> Result<Group, Problem> {
        if bytes > self.max_line_bytes {
            return Err(Problem::LineTooLong {
                bytes,
                limit: self.max_line_bytes,
            });
        }
        let group = parse_group(line)?;
        if let Some(&first_line) = self.line_of_id.get(&group.id) {
            return Err(Problem::DuplicateId {
                id: group.id,
                first_line,
            });
        }
        self.line_of_id.insert(group.id.clone(), self.summary.lines);
        Ok(group)
    }

    fn next_outcome(&mut self) -> std::io::Result<Option<Outcome>> {
        loop {
            let byte_offset = self.next_byte;
            let Some((line, bytes)) = self.next_line()? else {
                return Ok(None);
            };
            self.summary.lines += 1;
            let line = if byte_offset == 0 {
                line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line)
            } else {
                &line
            };
            if bytes <= self.max_line_bytes && line.trim_ascii().is_empty() {
                self.summary.blank += 1;
                continue;
            }
            return Ok(Some(match self.group(line, bytes) {
                Ok(group) => {
                    self.summary.kept += 1;
                    Outcome::Kept {
                        line: self.summary.lines,
                        byte_offset,
                        group,
                    }
                }
                Err(problem) => {
                    self.summary.rejected += 1;
                    Outcome::Rejected(Rejection {
                        line: self.summary.lines,
                        byte_offset,
                        problem,
                    })
                }
            }));
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Outcome, Error>;

    /// The next record; after an error of the source there is none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let outcome = self.next_outcome();
        self.failed = outcome.is_err();
        outcome
            .map_err(|source| Error::Io {
                lines: self.summary.lines,
                source,
            })
            .transpose()
    }
}
