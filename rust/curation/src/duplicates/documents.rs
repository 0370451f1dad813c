//! What is known of each document: where it was read from and a check of its text. Rows of a fixed size on disk.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::digest::number;
use super::spill::Spill;
use crate::error::{Error, Result};

/// Where a document was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Name of its source.
    pub source: String,
    /// File, line and byte offset; the file is empty where they are not known.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Byte at which the line starts.
    pub byte_offset: u64,
}

/// A row of the table. `source` and `file` are numbers of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    source: u32,
    file: u32,
    line: u64,
    byte_offset: u64,
    /// Distinguishes texts; where places are equal or unknown it decides which copy is kept.
    digest: u128,
    /// Another hash of the text, fast to compute: the second pass must find the same.
    pub check: u64,
}

const ROW_BYTES: usize = 48;

/// The table of all documents, in the order in which they were added.
pub(crate) struct Documents {
    rows: Spill,
    count: u32,
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    /// Sources, most preferred first.
    priority: Vec<String>,
}

impl Documents {
    pub fn new(folder: &Path, priority: Vec<String>) -> Result<Self> {
        Ok(Self {
            rows: Spill::new(folder)?,
            count: 0,
            names: Vec::new(),
            numbers: HashMap::new(),
            priority,
        })
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Adds a document; returns its number.
    pub fn push(&mut self, place: &Place, digest: u128, check: u64) -> Result<u32> {
        if self.count == u32::MAX {
            let limit = u64::from(u32::MAX);
            return Err(Error::TooMany { limit });
        }
        let row = Row {
            source: self.name(&place.source),
            file: self.name(&place.file),
            line: place.line,
            byte_offset: place.byte_offset,
            digest,
            check,
        };
        self.rows.append(&row.to_bytes())?;
        self.count += 1;
        Ok(self.count - 1)
    }

    pub fn flush(&mut self) -> Result<()> {
        self.rows.flush()
    }

    pub fn row(&self, number: u32, bytes: &mut Vec<u8>) -> Result<Row> {
        let offset = u64::from(number) * Spill::block_bytes(ROW_BYTES);
        self.rows.read(offset, ROW_BYTES, bytes)?;
        Ok(Row::from_bytes(bytes))
    }

    pub fn place(&self, row: &Row) -> Place {
        Place {
            source: self.names[row.source as usize].to_string(),
            file: self.names[row.file as usize].to_string(),
            line: row.line,
            byte_offset: row.byte_offset,
        }
    }

    /// Which of two documents is kept: the one of the preferred source, then the first by name of source, file, line and
    /// byte offset, then the one with the smaller digest. The order of the input does not matter.
    pub fn compare(&self, left: &Row, right: &Row) -> Ordering {
        let rank = |row: &Row| {
            let source: &str = &self.names[row.source as usize];
            let position = self.priority.iter().position(|name| name == source);
            (position.unwrap_or(self.priority.len()), source)
        };
        let file = |row: &Row| -> &str { &self.names[row.file as usize] };
        rank(left)
            .cmp(&rank(right))
            .then_with(|| file(left).cmp(file(right)))
            .then_with(|| left.line.cmp(&right.line))
            .then_with(|| left.byte_offset.cmp(&right.byte_offset))
            .then_with(|| left.digest.cmp(&right.digest))
    }

    /// Bytes in memory: names of sources and files.
    pub fn memory_bytes(&self) -> usize {
        let text: usize = self.names.iter().map(|name| name.len() + 16).sum();
        let entry = size_of::<(Arc<str>, u32)>() + 1;
        text + self.names.capacity() * size_of::<Arc<str>>()
            + self.numbers.capacity() * entry
            + self.rows.memory_bytes()
    }

    pub fn disk_bytes(&self) -> u64 {
        self.rows.disk_bytes()
    }

    fn name(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

impl Row {
    fn to_bytes(self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[..4].copy_from_slice(&self.source.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.file.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.line.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.byte_offset.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.digest.to_le_bytes());
        bytes[40..].copy_from_slice(&self.check.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            source: number(&bytes[..4]) as u32,
            file: number(&bytes[4..8]) as u32,
            line: number(&bytes[8..16]) as u64,
            byte_offset: number(&bytes[16..24]) as u64,
            digest: number(&bytes[24..40]),
            check: number(&bytes[40..]) as u64,
        }
    }
}
