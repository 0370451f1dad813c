//! Document lengths, data sets and layouts for the packing benches.

use std::path::{Path, PathBuf};

use stategpt_layout::{LayoutError, SegmentLayout};
use stategpt_packing::random::bits;
use stategpt_packing::{
    DocumentRef, LengthHistogram, PackingError, Provenance, ShardWriter, Vocabulary,
};

/// Lognormal lengths: `median` tokens, sigma 1.2, as web documents have.
pub fn lengths(documents: u64, median: f64) -> Vec<u64> {
    let length = |document: u64| (median * (1.2 * normal(document)).exp()) as u64;
    (0..documents).map(length).collect()
}

/// The histogram of `documents` lengths.
pub fn histogram(documents: u64, median: f64) -> LengthHistogram {
    lengths(documents, median).into_iter().collect()
}

/// A standard normal draw (Box and Muller, 1958).
fn normal(counter: u64) -> f64 {
    let uniform =
        |which: u64| ((bits(which, &[counter]) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    (-2.0 * uniform(1).ln()).sqrt() * (2.0 * std::f64::consts::PI * uniform(2)).cos()
}

/// Rows that best-fit decreasing fills, placing one piece at a time. O(pieces log rooms).
pub fn rows_piece_by_piece(lengths: &LengthHistogram, row_tokens: u64) -> u64 {
    let mut pieces = std::collections::BTreeMap::new();
    let mut rows = 0;
    for (tokens, documents) in lengths.iter() {
        rows += (tokens + 1) / row_tokens * documents;
        *pieces.entry((tokens + 1) % row_tokens).or_insert(0) += documents;
    }
    let mut rooms: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
    for (length, count) in pieces.into_iter().rev().filter(|(length, _)| *length > 0) {
        for _ in 0..count {
            let room = rooms.range(length..).next().map(|(room, _)| *room);
            if let Some(room) = room {
                let left = rooms.entry(room).or_insert(0);
                *left -= 1;
                if *left == 0 {
                    rooms.remove(&room);
                }
            }
            rows += u64::from(room.is_none());
            *rooms
                .entry(room.unwrap_or(row_tokens) - length)
                .or_insert(0) += 1;
        }
    }
    rows
}

/// A data set on disk that is removed with this value.
pub struct DatasetFolder(PathBuf);

impl DatasetFolder {
    /// Writes `documents` of lognormal length.
    pub fn write(documents: u64, median: f64) -> Result<Self, PackingError> {
        let root =
            std::env::temp_dir().join(format!("stategpt-bench-packing-{}", std::process::id()));
        let folder = Self(root);
        let vocabulary = Vocabulary {
            fingerprint: "b3:bench".into(),
            size: 50_000,
            end_of_text: 0,
            padding: 1,
        };
        let mut writer = ShardWriter::create(folder.path(), vocabulary, 1 << 26)?;
        let mut ids = Vec::new();
        for (document, length) in (0_u64..).zip(lengths(documents, median)) {
            ids.clear();
            ids.extend((0..length).map(|at| 2 + ((document * 31 + at * 7) % 49_000) as u32));
            writer.push(DocumentRef {
                ids: &ids,
                mask: None,
                doc_id: None,
            })?;
        }
        writer.publish(Provenance::default())?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for DatasetFolder {
    fn drop(&mut self) {
        // Left for the system's cleaner if it cannot be removed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One row of segments of these lengths end to end, the last one cut to make `tokens`; then segments of one token.
pub fn packed_layout(lengths: &[u64], tokens: u64) -> Result<SegmentLayout, LayoutError> {
    let tokens = tokens as usize;
    let mut layout = SegmentLayout::padding(tokens)?;
    let mut start = 0;
    for length in lengths {
        let end = tokens.min(start + *length as usize);
        layout.write(start..end, start);
        start = end;
    }
    Ok(layout)
}
