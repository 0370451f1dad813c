//! Documents by length: the k-th document of a length in O(log lengths), 4 bytes a document.

use crate::error::{PackingError, filled};
use crate::shards::{Dataset, HEADER_BYTES};

/// The documents of a data set, sorted by length and within a length by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LengthIndex {
    /// Each length that occurs, ascending.
    lengths: Vec<u64>,
    /// Where the documents of each length start in `documents`.
    starts: Vec<usize>,
    /// Document numbers.
    documents: Vec<u32>,
}

impl LengthIndex {
    /// Reads every offset once and sorts by counting. O(documents log lengths).
    pub fn build(dataset: &Dataset) -> Result<Self, PackingError> {
        let description = dataset.description();
        let (lengths, counts): (Vec<u64>, Vec<u64>) = description.length_histogram.iter().unzip();
        let mut cursors: Vec<usize> = Vec::with_capacity(lengths.len());
        // The description's check holds it below 2^32.
        let mut total = 0;
        for count in &counts {
            cursors.push(total);
            total += *count as usize;
        }
        let starts = cursors.clone();
        let mut documents = filled(
            0,
            total,
            "the documents' numbers by length",
            "pack with strategy concat, or a part of the data set",
        )?;
        let mut number = 0_u32;
        let mut surplus = None;
        dataset.lengths(|length| {
            let class = lengths.binary_search(&length).ok();
            match class.filter(|class| cursors[*class] - starts[*class] < counts[*class] as usize) {
                Some(class) => {
                    documents[cursors[class]] = number;
                    cursors[class] += 1;
                }
                None => surplus = surplus.or(Some((number, length))),
            }
            number += 1;
        })?;
        match surplus {
            None => Ok(Self {
                lengths,
                starts,
                documents,
            }),
            Some((number, length)) => Err(PackingError::Corrupt {
                path: dataset.root().to_path_buf(),
                offset: HEADER_BYTES as u64,
                reason: format!(
                    "document {number} has {length} tokens by offsets.npy, but the manifest's histogram has no more of that length"
                ),
            }),
        }
    }

    /// Number of the document with `rank` among those of `tokens` tokens.
    pub fn document(&self, tokens: u64, rank: u64) -> Option<u64> {
        let class = self.lengths.binary_search(&tokens).ok()?;
        self.documents
            .get(self.starts[class] + rank as usize)
            .map(|number| u64::from(*number))
    }
}
