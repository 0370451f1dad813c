//! Lines that many documents of a source have: menus, notices, headers.
//!
//! Two passes in bounded memory. The first adds every document to a sketch of fixed size (a count-min sketch), which
//! never counts too little. The second counts exactly, but only lines whose estimate reaches the limit, of which there
//! are few. Both counts are sums over documents, so neither depends on the order.

use std::collections::{HashMap, HashSet};

use blake3::Hasher;

/// Rows and columns of the sketch: 64 MiB.
const ROWS: usize = 4;
const COLUMNS: usize = 1 << 22;
/// A line of fewer characters is never boilerplate: brackets and "yes" occur anywhere.
const MIN_CHARACTERS: usize = 4;

/// Counts, for each line of a source, the documents that have it.
pub struct LineCounter {
    sketch: Vec<u32>,
    /// Documents that have a line, and how many make it boilerplate.
    exact: HashMap<u128, (u32, u32)>,
}

impl Default for LineCounter {
    fn default() -> Self {
        Self {
            sketch: vec![0; ROWS * COLUMNS],
            exact: HashMap::new(),
        }
    }
}

impl LineCounter {
    /// First pass: adds the different lines of a document of `source`.
    pub fn estimate(&mut self, source: &str, text: &str) {
        for key in different_lines(source, text) {
            for place in places(key) {
                self.sketch[place] = self.sketch[place].saturating_add(1);
            }
        }
    }

    /// Second pass, over the same documents: counts the lines of which the first says that at least `least` documents of
    /// `source` have them.
    pub fn count(&mut self, source: &str, text: &str, least: u32) {
        for key in different_lines(source, text) {
            let estimate = places(key).map(|place| self.sketch[place]);
            if estimate.iter().all(|&count| count >= least) {
                self.exact.entry(key).or_insert((0, least)).0 += 1;
            }
        }
    }

    /// Ends the passes: the lines that enough documents of a source have.
    #[must_use]
    pub fn boilerplate(self) -> Boilerplate {
        let enough = self
            .exact
            .into_iter()
            .filter(|(_, (count, least))| count >= least);
        Boilerplate {
            lines: enough.map(|(key, _)| key).collect(),
        }
    }
}

/// The boilerplate of all sources.
pub struct Boilerplate {
    lines: HashSet<u128>,
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

    /// The text of `source` without its lines of boilerplate, and how many there were; `None` where there were none.
    #[must_use]
    pub fn remove(&self, source: &str, text: &str) -> Option<(String, u32)> {
        if self.lines.is_empty() {
            return None;
        }
        let (mut kept, mut removed) = (Vec::new(), 0);
        for line in text.split('\n') {
            let is_boilerplate = key(source, line).is_some_and(|key| self.lines.contains(&key));
            removed += u32::from(is_boilerplate);
            if !is_boilerplate {
                kept.push(line);
            }
        }
        (removed > 0).then(|| (kept.join("\n"), removed))
    }
}

/// Keys of the lines that a document has, each once.
fn different_lines(source: &str, text: &str) -> Vec<u128> {
    let mut keys: Vec<u128> = text
        .split('\n')
        .filter_map(|line| key(source, line))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The key of a line of a source: 128 bits of their BLAKE3, so that no two share one.
fn key(source: &str, line: &str) -> Option<u128> {
    let line = line.trim();
    if line.len() < MIN_CHARACTERS || line.chars().take(MIN_CHARACTERS).count() < MIN_CHARACTERS {
        return None;
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(
        &Hasher::new()
            .update(&(source.len() as u64).to_le_bytes())
            .update(source.as_bytes())
            .update(line.as_bytes())
            .finalize()
            .as_bytes()[..16],
    );
    Some(u128::from_le_bytes(bytes))
}

/// One place of the sketch in each of its rows.
fn places(key: u128) -> [usize; ROWS] {
    let column = |row: usize| (key >> (32 * row)) as usize & (COLUMNS - 1);
    std::array::from_fn(|row| row * COLUMNS + column(row))
}
