//! A whole source in columns: the flat form that bindings hand on.

use std::io::BufRead;

use crate::error::Error;
use crate::group::Group;
use crate::reader::{Outcome, Reader, Rejection, Summary};

/// The records of one source. Where a column has offsets, the entries of item i are
/// `offsets[i]..offsets[i + 1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Id of each group.
    pub ids: Vec<String>,
    /// Prompt of each group.
    pub prompts: Vec<String>,
    /// Line of each group.
    pub lines: Vec<u64>,
    /// Byte at which that line starts.
    pub byte_offsets: Vec<u64>,
    /// Fingerprint of the tokenizer of each group's ids.
    pub tokenizers: Vec<Option<String>>,
    /// Text of each completion.
    pub texts: Vec<String>,
    /// Rank of each completion.
    pub ranks: Vec<u32>,
    /// Whether each completion ended by itself.
    pub ended: Vec<bool>,
    /// Completions of each group.
    pub completion_offsets: Vec<u64>,
    /// Ids of all completions that have them.
    pub token_ids: Vec<u32>,
    /// Ids of each completion.
    pub token_offsets: Vec<u64>,
    /// Preferences of all groups, winner and loser in turn.
    pub pairs: Vec<u32>,
    /// Preferences of each group, counted in pairs.
    pub pair_offsets: Vec<u64>,
    /// What was not kept.
    pub rejected: Vec<Rejection>,
    /// Counts of what was read.
    pub summary: Summary,
}

impl Table {
    /// Reads `reader` to its end, or until `should_continue` is false.
    ///
    /// # Errors
    /// As [`Reader::next_while`].
    pub fn read<R: BufRead>(
        mut reader: Reader<R>,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let mut table = Self::empty();
        while let Some(outcome) = reader.next_while(should_continue) {
            match outcome? {
                Outcome::Kept {
                    line,
                    byte_offset,
                    group,
                } => table.push(line, byte_offset, group),
                Outcome::Rejected(rejection) => table.rejected.push(rejection),
            }
        }
        table.summary = reader.summary();
        Ok(table)
    }

    fn empty() -> Self {
        Self {
            ids: Vec::new(),
            prompts: Vec::new(),
            lines: Vec::new(),
            byte_offsets: Vec::new(),
            tokenizers: Vec::new(),
            texts: Vec::new(),
            ranks: Vec::new(),
            ended: Vec::new(),
            completion_offsets: vec![0],
            token_ids: Vec::new(),
            token_offsets: vec![0],
            pairs: Vec::new(),
            pair_offsets: vec![0],
            rejected: Vec::new(),
            summary: Summary::default(),
        }
    }

    fn push(&mut self, line: u64, byte_offset: u64, group: Group) {
        self.pairs.extend(group.pairs().iter().flatten());
        self.pair_offsets.push(self.pairs.len() as u64 / 2);
        self.lines.push(line);
        self.byte_offsets.push(byte_offset);
        self.ids.push(group.id);
        self.prompts.push(group.prompt);
        self.tokenizers.push(group.tokenizer);
        for completion in group.completions {
            self.texts.push(completion.text);
            self.ranks.push(completion.rank);
            self.ended.push(completion.ended);
            self.token_ids.extend(completion.ids.unwrap_or_default());
            self.token_offsets.push(self.token_ids.len() as u64);
        }
        self.completion_offsets.push(self.texts.len() as u64);
    }
}
