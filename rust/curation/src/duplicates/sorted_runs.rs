//! Sorting more records than memory holds: sorted runs in one temporary file, merged as they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::spill::Spill;
use crate::error::Result;

/// A record of a fixed number of bytes; its order is that of the sort.
pub trait Record: Copy + Ord {
    /// Its size on disk.
    const BYTES: usize;
    /// Appends its bytes.
    fn write(&self, bytes: &mut Vec<u8>);
    /// Reads it back from `BYTES` bytes.
    fn read(bytes: &[u8]) -> Self;
}

/// Records of one read from a run.
const BLOCK_RECORDS: usize = 4096;

/// Collects records in memory, and writes a sorted run whenever `memory_bytes` of them are there.
pub struct Sorter<R> {
    folder: PathBuf,
    limit: usize,
    buffer: Vec<R>,
    spill: Option<Spill>,
    /// Number of records of each run, and the offset of its first block.
    runs: Vec<(u64, usize)>,
}

impl<R: Record> Sorter<R> {
    /// Sorts with about `memory_bytes` of memory; runs are in `folder`.
    pub fn new(folder: &Path, memory_bytes: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            limit: (memory_bytes / size_of::<R>()).max(1),
            buffer: Vec::new(),
            spill: None,
            runs: Vec::new(),
        }
    }

    /// Adds a record.
    pub fn push(&mut self, record: R) -> Result<()> {
        if self.buffer.len() >= self.limit {
            self.write_run()?;
        }
        if self.buffer.len() == self.buffer.capacity() {
            // Doubling, but never beyond the limit.
            let more = self
                .buffer
                .len()
                .max(64)
                .min(self.limit - self.buffer.len());
            self.buffer.reserve_exact(more);
        }
        self.buffer.push(record);
        Ok(())
    }

    /// All records in ascending order.
    pub fn merged(mut self) -> Result<Merged<R>> {
        if let Some(spill) = &mut self.spill {
            spill.flush()?;
        }
        self.buffer.sort_unstable();
        let mut merged = Merged {
            spill: self.spill,
            runs: Vec::with_capacity(self.runs.len() + 1),
            heads: BinaryHeap::new(),
            bytes: Vec::new(),
        };
        for (offset, left) in self.runs {
            merged.runs.push(Run {
                offset,
                left,
                block: VecDeque::new(),
            });
        }
        merged.runs.push(Run {
            offset: 0,
            left: 0,
            block: self.buffer.into(),
        });
        for run in 0..merged.runs.len() {
            merged.advance(run)?;
        }
        Ok(merged)
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity() * size_of::<R>() + self.spill.as_ref().map_or(0, Spill::memory_bytes)
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.spill.as_ref().map_or(0, Spill::disk_bytes)
    }

    fn write_run(&mut self) -> Result<()> {
        self.buffer.sort_unstable();
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::new(&self.folder)?),
        };
        let mut first = None;
        let mut bytes = Vec::with_capacity(BLOCK_RECORDS * R::BYTES);
        for block in self.buffer.chunks(BLOCK_RECORDS) {
            bytes.clear();
            for record in block {
                record.write(&mut bytes);
            }
            let offset = spill.append(&bytes)?;
            first.get_or_insert(offset);
        }
        self.runs.push((first.unwrap_or(0), self.buffer.len()));
        self.buffer.clear();
        Ok(())
    }
}

struct Run<R> {
    /// Of the next block.
    offset: u64,
    /// Records that are not read yet.
    left: usize,
    block: VecDeque<R>,
}

/// Records of all runs in ascending order.
pub struct Merged<R: Ord> {
    spill: Option<Spill>,
    runs: Vec<Run<R>>,
    heads: BinaryHeap<Reverse<(R, usize)>>,
    bytes: Vec<u8>,
}

impl<R: Record> Merged<R> {
    /// The next record.
    pub fn next(&mut self) -> Result<Option<R>> {
        let Some(Reverse((record, run))) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(run)?;
        Ok(Some(record))
    }

    /// The next records that `same` finds alike, into `group`; false after the last.
    pub fn next_group(
        &mut self,
        group: &mut Vec<R>,
        same: impl Fn(&R, &R) -> bool,
    ) -> Result<bool> {
        group.clear();
        let Some(first) = self.next()? else {
            return Ok(false);
        };
        group.push(first);
        while let Some(Reverse((record, _))) = self.heads.peek() {
            if !same(&first, record) {
                break;
            }
            if let Some(record) = self.next()? {
                group.push(record);
            }
        }
        Ok(true)
    }

    /// Puts the run's next record on the heap.
    fn advance(&mut self, number: usize) -> Result<()> {
        let run = &mut self.runs[number];
        if run.block.is_empty() && run.left > 0 {
            let count = run.left.min(BLOCK_RECORDS);
            let len = count * R::BYTES;
            if let Some(spill) = &self.spill {
                spill.read(run.offset, len, &mut self.bytes)?;
            }
            run.block
                .extend(self.bytes.chunks_exact(R::BYTES).map(R::read));
            run.offset += Spill::block_bytes(len);
            run.left -= count;
        }
        if let Some(record) = run.block.pop_front() {
            self.heads.push(Reverse((record, number)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Record for u32 {
        const BYTES: usize = 4;
        fn write(&self, bytes: &mut Vec<u8>) {
            bytes.extend_from_slice(&self.to_le_bytes());
        }
        fn read(bytes: &[u8]) -> Self {
            Self::from_le_bytes(bytes.try_into().unwrap())
        }
    }

    fn sorter(limit_bytes: usize, numbers: &[u32]) -> Sorter<u32> {
        let mut sorter = Sorter::new(&std::env::temp_dir(), limit_bytes);
        for number in numbers {
            sorter.push(*number).unwrap();
            assert!(sorter.buffer.capacity() * 4 <= limit_bytes.max(4));
        }
        sorter
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_limit_gives_the_sorted_records(numbers in prop::collection::vec(0_u32..50, 0..400), limit in 1_usize..600) {
            let mut merged = sorter(limit, &numbers).merged().unwrap();
            let mut expected = numbers;
            expected.sort_unstable();
            let (mut found, mut group) = (Vec::new(), Vec::new());
            while merged.next_group(&mut group, |one, other| one == other).unwrap() {
                prop_assert!(found.last() != group.first());
                found.extend_from_slice(&group);
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_run_longer_than_a_block_is_read_whole() {
        let numbers: Vec<u32> = (0..3 * BLOCK_RECORDS as u32 + 5).rev().collect();
        let sorter = sorter(4 * (2 * BLOCK_RECORDS + 7), &numbers);
        assert_eq!(sorter.runs.len(), 1);
        let mut merged = sorter.merged().unwrap();
        for expected in 0..numbers.len() as u32 {
            assert_eq!(merged.next().unwrap(), Some(expected));
        }
        assert_eq!(merged.next().unwrap(), None);
    }

    #[test]
    fn damage_in_a_run_is_an_error() {
        let mut sorter = sorter(40, &(0..100).collect::<Vec<_>>());
        let spill = sorter.spill.as_mut().unwrap();
        spill.flush().unwrap();
        std::os::unix::fs::FileExt::write_all_at(spill.file(), &[255], 50).unwrap();
        let error = sorter.merged().err().unwrap();
        assert!(error.to_string().contains("altered"), "{error}");
    }
}
