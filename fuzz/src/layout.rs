//! Any bytes, read as an attention layout.

use stategpt_layout::{AttentionLayout, Runs, Tiling, key_tiles, query_tiles};

/// The maximum number of tokens of a row.
const MAX_ROW_TOKENS: usize = 24;

/// Segments of packed rows, prefixes with branches and padding tokens from the bytes, then one entry changed. The first bytes
/// select the row, the blocks and the window.
///
/// # Panics
/// If a valid layout is refused, or the tiles of an accepted one leave out a key that a query sees.
pub fn layout(data: &[u8]) {
    let [row, block_q, block_k, window, change, rest @ ..] = data else {
        return;
    };
    let row_tokens = 1 + usize::from(*row) % MAX_ROW_TOKENS;
    let mut vectors = Vectors::of(row_tokens, rest);
    assert!(
        vectors.layout(row_tokens).validate().is_ok(),
        "a layout by the rules is taken"
    );
    if *change > 0 && !vectors.0[0].is_empty() {
        let at = usize::from(*change) % vectors.0[0].len();
        let entry = &mut vectors.0[usize::from(*block_q) % 4][at];
        *entry = entry.wrapping_add(i32::from(*window as i8));
    }
    let layout = vectors.layout(row_tokens);
    let valid = layout.validate().is_ok();
    let runs = Runs::of(&layout);
    assert_eq!(valid, runs.is_ok(), "one check for both");
    let window = (*window > 127).then(|| i64::from(*window % 9));
    let tiling = Tiling::new(i64::from(*block_q % 9), i64::from(*block_k % 9), window);
    if let (Ok(runs), Ok(tiling)) = (runs, tiling) {
        let (block_q, block_k) = (usize::from(*block_q % 9), usize::from(*block_k % 9));
        hold(&vectors, &runs, &tiling, (block_q, block_k), window);
    }
}

/// segment_start, prefix_end, branch_start, position.
struct Vectors([Vec<i32>; 4]);

impl Vectors {
    fn of(row_tokens: usize, bytes: &[u8]) -> Self {
        let mut vectors = Self(Default::default());
        for byte in bytes.iter().take(40) {
            let left = row_tokens - vectors.0[0].len() % row_tokens;
            let length = (1 + usize::from(byte >> 3)).min(left);
            match byte & 7 {
                0 => (0..length).for_each(|_| vectors.blank()),
                kind => vectors.segment(length, usize::from(kind)),
            }
        }
        while !vectors.0[0].len().is_multiple_of(row_tokens) {
            vectors.segment(1, 1);
        }
        vectors
    }

    fn push(&mut self, entries: [i32; 4]) {
        self.0
            .iter_mut()
            .zip(entries)
            .for_each(|(vector, entry)| vector.push(entry));
    }

    fn blank(&mut self) {
        let here = self.0[0].len() as i32;
        self.push([here, here, here + 1, 0]);
    }

    /// A segment whose trunk is followed by branches of about a `parts`-th each; with one part it has none.
    fn segment(&mut self, length: usize, parts: usize) {
        let start = self.0[0].len() as i32;
        let part = (length / parts).max(1) as i32;
        let (mut prefix_end, mut branch) = (start, start);
        for place in 0..length as i32 {
            if parts > 1 && place > 0 && place % part == 0 {
                (prefix_end, branch) = (start + part, start + place);
            }
            let position = (prefix_end - start) + (start + place - branch);
            self.push([start, prefix_end, branch, position]);
        }
    }

    fn layout(&self, row_tokens: usize) -> AttentionLayout<'_> {
        let [segment_start, prefix_end, branch_start, position] = &self.0;
        AttentionLayout {
            segment_start,
            prefix_end,
            branch_start,
            position,
            row_tokens: row_tokens as i64,
        }
    }

    /// Whether `query` sees `key`, by definition.
    fn sees(&self, query: usize, key: usize, window: Option<i64>) -> bool {
        let [segment, prefix, branch, position] = &self.0;
        let at = key as i32;
        let far = segment[query] <= at && at < prefix[query];
        let near = branch[query] <= at && key <= query;
        let distance = i64::from(position[query]) - i64::from(position[key]);
        (far || near) && window.is_none_or(|window| distance < window)
    }
}

fn hold(
    vectors: &Vectors,
    runs: &Runs,
    tiling: &Tiling,
    (block_q, block_k): (usize, usize),
    window: Option<i64>,
) {
    let tokens = vectors.0[0].len();
    for tile in query_tiles(runs, tiling) {
        let queries = tile.q0 as usize..(tile.q0 as usize + block_q).min(tokens);
        for (query, key) in queries.flat_map(|query| (0..tokens).map(move |key| (query, key))) {
            let at = key as i32;
            let far = tile.far_lo <= at && at < tile.far_hi;
            let near_hi = tile.near_lo + (tile.steps - tile.far_steps) * block_k as i32;
            let walked = far || (tile.near_lo <= at && at < near_hi);
            assert!(
                walked || !vectors.sees(query, key, window),
                "query {query} sees key {key}, which its tile {tile:?} does not walk over"
            );
        }
    }
    for tile in key_tiles(runs, tiling) {
        let keys = tile.k0 as usize..(tile.k0 as usize + block_k).min(tokens);
        let end = tile.q_lo + tile.steps * block_q as i32;
        for (key, query) in keys.flat_map(|key| (0..tokens).map(move |query| (key, query))) {
            let walked = tile.q_lo <= query as i32 && (query as i32) < end;
            assert!(
                walked || !vectors.sees(query, key, window),
                "query {query} sees key {key} of tile {tile:?} and does not walk over it"
            );
        }
    }
}
