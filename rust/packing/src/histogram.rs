//! How many documents there are of each length: all that a packing plan needs to know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Documents by length in tokens, the end-of-text token not counted. Histograms of parts add up to that of the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct LengthHistogram {
    /// Documents for each length that occurs.
    counts: BTreeMap<u64, u64>,
}

impl LengthHistogram {
    /// Counts `documents` more of `tokens` tokens. O(log lengths).
    pub fn add(&mut self, tokens: u64, documents: u64) {
        if documents > 0 {
            *self.counts.entry(tokens).or_insert(0) += documents;
        }
    }

    /// `(tokens, documents)`, the shortest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.counts
            .iter()
            .map(|(tokens, documents)| (*tokens, *documents))
    }

    /// Number of documents. O(lengths).
    pub fn documents(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Number of tokens. O(lengths).
    pub fn tokens(&self) -> u64 {
        self.iter()
            .map(|(tokens, documents)| tokens * documents)
            .sum()
    }
}

/// Counts documents one by one: those of common lengths in a list, in a nanosecond each.
#[derive(Debug, Default)]
pub struct LengthCounter {
    /// Documents of each length below [`COMMON_TOKENS`], as far as any was counted.
    common: Vec<u64>,
    longer: LengthHistogram,
}

/// Lengths below this are counted in a list of at most 32 KiB.
const COMMON_TOKENS: u64 = 4096;

impl LengthCounter {
    /// Counts a document of `tokens` tokens.
    pub fn add(&mut self, tokens: u64) {
        if tokens >= COMMON_TOKENS {
            return self.longer.add(tokens, 1);
        }
        let place = tokens as usize;
        if place >= self.common.len() {
            self.common.resize(place + 1, 0);
        }
        self.common[place] += 1;
    }

    /// Everything that was counted.
    pub fn into_histogram(self) -> LengthHistogram {
        let mut histogram = self.longer;
        for (tokens, documents) in (0..).zip(self.common) {
            histogram.add(tokens, documents);
        }
        histogram
    }
}

/// As it is written: each length once, ascending, with at least one document, and sums that fit 64 bits.
impl TryFrom<Vec<(u64, u64)>> for LengthHistogram {
    type Error = String;

    fn try_from(pairs: Vec<(u64, u64)>) -> Result<Self, String> {
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(format!(
                "length_histogram: length {} comes after {}; lengths ascend",
                pair[1].0, pair[0].0
            ));
        }
        let (mut documents, mut tokens) = (Some(0_u64), Some(0_u64));
        for &(length, count) in &pairs {
            if count == 0 {
                return Err(format!(
                    "length_histogram: no document has length {length}; it must not be listed"
                ));
            }
            documents = documents.and_then(|sum| sum.checked_add(count));
            tokens = tokens.and_then(|sum| sum.checked_add(length.checked_mul(count)?));
        }
        if documents.is_none() || tokens.is_none() {
            return Err("length_histogram: its sums exceed 64 bits".to_string());
        }
        let counts = pairs.into_iter().collect();
        Ok(Self { counts })
    }
}

impl From<LengthHistogram> for Vec<(u64, u64)> {
    fn from(histogram: LengthHistogram) -> Self {
        histogram.counts.into_iter().collect()
    }
}

impl FromIterator<u64> for LengthHistogram {
    fn from_iter<I: IntoIterator<Item = u64>>(lengths: I) -> Self {
        let mut histogram = Self::default();
        lengths
            .into_iter()
            .for_each(|tokens| histogram.add(tokens, 1));
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_documents_and_tokens() {
        let histogram: LengthHistogram = [3, 0, 3, 7].into_iter().collect();
        assert_eq!(
            histogram.iter().collect::<Vec<_>>(),
            [(0, 1), (3, 2), (7, 1)]
        );
        assert_eq!((histogram.documents(), histogram.tokens()), (4, 13));
    }

    #[test]
    fn documents_counted_one_by_one_are_those_of_the_histogram() {
        let lengths = [0, 4095, 4096, 3, 0, 100_000, 4096];
        let mut counter = LengthCounter::default();
        lengths.iter().for_each(|tokens| counter.add(*tokens));
        assert_eq!(counter.into_histogram(), lengths.into_iter().collect());
    }

    #[test]
    fn is_written_as_pairs() -> Result<(), serde_json::Error> {
        let histogram: LengthHistogram = [3, 0, 3].into_iter().collect();
        let text = serde_json::to_string(&histogram)?;
        assert_eq!(text, "[[0,1],[3,2]]");
        assert_eq!(serde_json::from_str::<LengthHistogram>(&text)?, histogram);
        Ok(())
    }
}
