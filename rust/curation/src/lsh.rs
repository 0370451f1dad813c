//! Locality-sensitive hashing of signatures: documents that agree in a band of components are candidates.
//!
//! With `b` bands of `r` components, two texts of Jaccard similarity `s` become candidates with a probability of
//! `1 - (1 - s^r)^b`, the S-curve. A candidate is a near-duplicate if its signatures agree in at least `threshold` of all
//! components.

use crate::duplicates::Record;
use crate::error::{Error, Result};
use crate::minhash::{COMPONENTS, Signature, spread};

/// Bands, components of a band, and the share of equal components from which documents are near-duplicates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bands {
    bands: usize,
    rows: usize,
    /// Of `COMPONENTS` equal ones.
    min_equal: u32,
}

impl Bands {
    /// Checked settings.
    pub fn new(bands: usize, rows: usize, threshold: f64) -> Result<Self> {
        if bands == 0 || rows == 0 || bands.saturating_mul(rows) > COMPONENTS {
            return Err(Error::Setting {
                name: "bands, rows",
                value: format!("{bands}, {rows}"),
                rule: "both are at least 1, and their product is at most 128",
            });
        }
        if !(threshold > 0.0 && threshold <= 1.0) {
            return Err(Error::Setting {
                name: "threshold",
                value: threshold.to_string(),
                rule: "it is above 0 and at most 1",
            });
        }
        let min_equal = (threshold * COMPONENTS as f64).ceil() as u32;
        Ok(Self {
            bands,
            rows,
            min_equal,
        })
    }

    /// Whether this number of equal components makes near-duplicates.
    #[must_use]
    pub fn is_near(&self, equal: u32) -> bool {
        equal >= self.min_equal
    }

    /// The S-curve: probability that two texts of this Jaccard similarity are compared.
    #[must_use]
    pub fn probability(&self, jaccard: f64) -> f64 {
        1.0 - (1.0 - jaccard.powi(self.rows as i32)).powi(self.bands as i32)
    }

    /// The key of each band.
    pub(crate) fn keys(&self, signature: &Signature) -> impl Iterator<Item = u64> {
        let bands = signature.chunks_exact(self.rows).take(self.bands);
        bands.enumerate().map(|(band, rows)| {
            let start = spread(band as u64 + 1);
            let join = |key: u64, value: &u32| spread(key ^ u64::from(*value));
            rows.iter().fold(start, join)
        })
    }
}

/// A document under the key of a band.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BandEntry {
    /// Of the band and the components in it.
    pub key: u64,
    /// The document's number.
    pub document: u32,
}

impl Record for BandEntry {
    const BYTES: usize = 12;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(&self.document.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        let number = crate::duplicates::number;
        Self {
            key: number(&bytes[..8]) as u64,
            document: number(&bytes[8..12]) as u32,
        }
    }
}
