//! Lines to groups, streaming: one line in memory, every line accounted for.

use std::collections::HashMap;
use std::io::BufRead;

use stategpt_lines::{Line, LineReader, LinesError};

use crate::error::Error;
use crate::group::Group;
use crate::parse::parse_group;
use crate::problem::Problem;

/// Longest line held in memory. A longer one is skipped to its end and rejected, so a file without newlines cannot
/// exhaust memory: a parsed line takes at most about 16 times its bytes.
pub const MAX_LINE_BYTES: u64 = 16 << 20;

/// A rejected record and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Line of the file, from 1.
    pub line: u64,
    /// Byte at which that line starts, from 0.
    pub byte_offset: u64,
    /// Why.
    pub problem: Problem,
}

/// The result for one line that is not blank.
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
    lines: LineReader<R>,
    line_of_id: HashMap<String, u64>,
    summary: Summary,
    failed: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader from the start of `source`.
    pub fn new(source: R) -> Self {
        Self::with_line_limit(source, MAX_LINE_BYTES)
    }

    /// As `new`, with another limit on lines.
    pub fn with_line_limit(source: R, max_line_bytes: u64) -> Self {
        Self {
            lines: LineReader::new(source, max_line_bytes),
            line_of_id: HashMap::new(),
            summary: Summary::default(),
            failed: false,
        }
    }

    /// What has been read so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// As `next`, and ends with an error when `should_continue`, called for every line and every buffer of a long one, is false.
    pub fn next_while(
        &mut self,
        should_continue: &dyn Fn() -> bool,
    ) -> Option<Result<Outcome, Error>> {
        if self.failed {
            return None;
        }
        let outcome = self.next_outcome(should_continue);
        self.failed = outcome.is_err();
        outcome
            .map_err(|source| Error::Read {
                lines: self.summary.lines,
                source,
            })
            .transpose()
    }

    fn next_outcome(
        &mut self,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Option<Outcome>, LinesError> {
        let limit = self.lines.max_line_bytes();
        loop {
            if !should_continue() {
                return Err(LinesError::Stopped);
            }
            let Some(line) = self.lines.next_line(should_continue)? else {
                return Ok(None);
            };
            self.summary.lines = line.number;
            if line.is_whole() && line.content.trim_ascii().is_empty() {
                self.summary.blank += 1;
                continue;
            }
            let place = (line.number, line.byte_offset);
            let group = parse_line(&line, limit, &mut self.line_of_id);
            return Ok(Some(self.summary.count(place, group)));
        }
    }
}

/// The group on a line; its id is new in `line_of_id` and is added.
fn parse_line(
    line: &Line<'_>,
    limit: u64,
    line_of_id: &mut HashMap<String, u64>,
) -> Result<Group, Problem> {
    if !line.is_whole() {
        return Err(Problem::LineTooLong {
            bytes: line.size,
            limit,
        });
    }
    let group = parse_group(line.content)?;
    if let Some(&first_line) = line_of_id.get(&group.id) {
        return Err(Problem::DuplicateId {
            id: group.id,
            first_line,
        });
    }
    line_of_id.insert(group.id.clone(), line.number);
    Ok(group)
}

impl Summary {
    fn count(&mut self, (line, byte_offset): (u64, u64), group: Result<Group, Problem>) -> Outcome {
        match group {
            Ok(group) => {
                self.kept += 1;
                Outcome::Kept {
                    line,
                    byte_offset,
                    group,
                }
            }
            Err(problem) => {
                self.rejected += 1;
                Outcome::Rejected(Rejection {
                    line,
                    byte_offset,
                    problem,
                })
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Outcome, Error>;

    /// The next record; none after an error of the source.
    fn next(&mut self) -> Option<Self::Item> {
        self.next_while(&|| true)
    }
}
