//! Lines that many documents of a source have: menus, notices, headers.
//!
//! Two passes in bounded memory. The first adds every document to a sketch of fixed size (a count-min sketch), which
//! never counts too little. The second counts exactly, but only lines whose estimate reaches the limit, of which there
//! are few. Both counts are sums over documents, so neither depends on the order.

use std::collections::HashMap;

use blake3::Hasher;

/// Rows and columns of the sketch: 64 MiB.
const ROWS: usize = 4;
const COLUMNS: usize = 1 << 22;
/// A line of fewer characters is never boilerplate: brackets and "yes" occur anywhere.
const MIN_CHARACTERS: usize = 4;

/// Counts, for each line of a source, the documents that have it.
pub struct LineCounter {
    sketch: Vec<u32>,
    documents: u64,
    exact: HashMap<u128, u32>,
}

impl Default for LineCounter {
    fn default() -> Self {
        Self {
            sketch: vec![0; ROWS * COLUMNS],
            documents: 0,
            exact: HashMap::new(),
        }
    }
}

impl LineCounter {
    /// First pass: adds the different lines of a document.
    pub fn estimate(&mut self, text: &str) {
        self.documents += 1;
        for key in different_lines(text) {
            for place in places(key) {
                self.sketch[place] = self.sketch[place].saturating_add(1);
            }
        }
    }

    /// Second pass, over the same documents: counts the lines of which the first says that at least `least` have them.
    pub fn count(&mut self, text: &str, least: u32) {
        for key in different_lines(text) {
            let estimate = places(key).map(|place| self.sketch[place]);
            if estimate.iter().all(|&count| count >= least) {
                *self.exact.entry(key).or_default() += 1;
            }
        }
    }

    /// Documents of the first pass.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Ends the passes: the lines that at least `least` documents have.
    #[must_use]
    pub fn boilerplate(self, least: u32) -> Boilerplate {
        let lines = self.exact.into_iter().filter(|(_, count)| *count >= least);
        Boilerplate {
            lines: lines.collect(),
        }
    }
}

/// The boilerplate of a source.
pub struct Boilerplate {
    lines: HashMap<u128, u32>,
}

impl Boilerplate {
    /// How many different lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The text without its lines of boilerplate, and how many there were; `None` where there were none.
    #[must_use]
    pub fn remove(&self, text: &str) -> Option<(String, u32)> {
        if self.lines.is_empty() {
            return None;
        }
        let (mut kept, mut removed) = (Vec::new(), 0);
        for line in text.split('\n') {
            let is_boilerplate = key(line).is_some_and(|key| self.lines.contains_key(&key));
            removed += u32::from(is_boilerplate);
            if !is_boilerplate {
                kept.push(line);
            }
        }
        (removed > 0).then(|| (kept.join("\n"), removed))
    }
}

/// Keys of the lines that a document has, each once.
fn different_lines(text: &str) -> Vec<u128> {
    let mut keys: Vec<u128> = text.split('\n').filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The key of a line: 128 bits of its BLAKE3, so that no two lines share one.
fn key(line: &str) -> Option<u128> {
    let line = line.trim();
    if line.len() < MIN_CHARACTERS || line.chars().take(MIN_CHARACTERS).count() < MIN_CHARACTERS {
        return None;
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Hasher::new().update(line.as_bytes()).finalize().as_bytes()[..16]);
    Some(u128::from_le_bytes(bytes))
}

/// One place of the sketch in each of its rows.
fn places(key: u128) -> [usize; ROWS] {
    let column = |row: usize| (key >> (32 * row)) as usize & (COLUMNS - 1);
    std::array::from_fn(|row| row * COLUMNS + column(row))
}
