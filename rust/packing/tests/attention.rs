//! Work lists against visibility computed pair by pair; validation against arbitrary vectors.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use stategpt_packing::{AttentionLayout, KeyTile, QueryTile, Runs, Tiling, key_tiles, query_tiles};

/// The vectors of a layout, one row long.
#[derive(Clone, Debug, Default)]
struct Stream {
    segment_start: Vec<i32>,
    prefix_end: Vec<i32>,
    branch_start: Vec<i32>,
    position: Vec<i32>,
}

impl Stream {
    fn len(&self) -> i32 {
        self.position.len() as i32
    }

    fn push(&mut self, segment: i32, prefix: i32, branch: i32, tokens: i32) {
        for token in self.len()..self.len() + tokens {
            self.segment_start.push(segment);
            self.prefix_end.push(prefix);
            self.branch_start.push(branch);
            self.position.push(prefix - segment + token - branch);
        }
    }

    /// A trunk and branches behind its first `shared` tokens.
    fn push_segment(&mut self, trunk: i32, branches: &[(i32, i32)]) {
        let segment = self.len();
        self.push(segment, segment, segment, trunk);
        for (shared, tokens) in branches {
            let start = self.len();
            self.push(segment, segment + (*shared).min(trunk), start, *tokens);
        }
    }

    fn push_blanks(&mut self, tokens: i32) {
        for _ in 0..tokens {
            let token = self.len();
            self.segment_start.push(token);
            self.prefix_end.push(token);
            self.branch_start.push(token + 1);
            self.position.push(0);
        }
    }

    fn layout(&self) -> AttentionLayout<'_> {
        AttentionLayout {
            segment_start: &self.segment_start,
            prefix_end: &self.prefix_end,
            branch_start: &self.branch_start,
            position: &self.position,
            row_tokens: i64::from(self.len()).max(1),
        }
    }

    fn runs(&self) -> Runs {
        Runs::of(&self.layout()).unwrap()
    }

    /// The definition.
    fn sees(&self, query: i32, key: i32, window: i64) -> bool {
        let (t, n) = (query as usize, self.len());
        let inside = (0..n).contains(&query) && (0..n).contains(&key);
        inside
            && (self.segment_start[t]..self.prefix_end[t])
                .chain(self.branch_start[t]..query + 1)
                .any(|seen| seen == key)
            && i64::from(self.position[t] - self.position[key as usize]) < window
    }
}

/// `sees` of every pair, computed once.
struct Matrix {
    tokens: i32,
    seen: Vec<bool>,
}

impl Matrix {
    fn of(stream: &Stream, window: Option<i64>) -> Self {
        let (n, window) = (stream.len(), window.unwrap_or(i64::MAX));
        let pairs = (0..n).flat_map(|query| (0..n).map(move |key| (query, key)));
        let seen = pairs.map(|(query, key)| stream.sees(query, key, window));
        Self {
            tokens: n,
            seen: seen.collect(),
        }
    }

    fn sees(&self, query: i32, key: i32) -> bool {
        key < self.tokens && query < self.tokens && self.seen[(query * self.tokens + key) as usize]
    }

    fn end(&self, lo: i32, block: i32) -> i32 {
        self.tokens.min(lo + block)
    }
}

fn segment() -> impl Strategy<Value = (i32, Vec<(i32, i32)>)> {
    let branch = (0_i32..30, 1_i32..30);
    // Prefixes shorter than the trunk fork inside it; those that would be longer are cut to it.
    let branches = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(branch.clone(), 1..5),
        1 => prop::collection::vec((Just(99), 1_i32..30), 1..5),
    ];
    (1_i32..40, branches)
}

fn stream() -> impl Strategy<Value = Stream> {
    let piece = prop_oneof![
        4 => segment().prop_map(Some),
        1 => Just(None),
    ];
    prop::collection::vec((piece, 1_i32..4), 0..8).prop_map(|pieces| {
        let mut stream = Stream::default();
        for (piece, blanks) in pieces {
            match piece {
                Some((trunk, branches)) => stream.push_segment(trunk, &branches),
                None => stream.push_blanks(blanks),
            }
        }
        stream
    })
}

fn window() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        3 => Just(None),
        4 => (1_i64..60).prop_map(Some),
        1 => Just(Some(i64::from(i32::MAX))),
        1 => Just(Some(i64::MAX)),
    ]
}

fn check_query_tile(
    tile: &QueryTile,
    matrix: &Matrix,
    stream: &Stream,
    block_q: i32,
    block_k: i32,
) {
    let queries = tile.q0..matrix.end(tile.q0, block_q);
    let far_steps = (tile.far_hi - tile.far_lo + block_k - 1) / block_k;
    assert_eq!(tile.far_steps, far_steps);
    assert!(tile.far_lo <= tile.far_hi && tile.far_hi <= tile.near_lo);
    assert_eq!(tile.far_hi, stream.prefix_end[tile.q0 as usize]);
    let keys_of = |step: i32| {
        if step < far_steps {
            let lo = tile.far_lo + step * block_k;
            lo..tile.far_hi.min(lo + block_k)
        } else {
            let lo = tile.near_lo + (step - far_steps) * block_k;
            lo..lo + block_k
        }
    };
    // Every visible pair in exactly one step, and both walks start at a visible key and end behind one.
    let seen = |key: i32| queries.clone().any(|query| matrix.sees(query, key));
    let mut covered = vec![0; matrix.tokens as usize];
    for step in 0..tile.steps {
        assert!(step < far_steps || keys_of(step).any(seen) || step + 1 < tile.steps);
        for key in keys_of(step).filter(|key| *key < matrix.tokens) {
            covered[key as usize] += 1;
        }
    }
    for key in 0..matrix.tokens {
        assert!(covered[key as usize] <= 1, "key {key} twice: {tile:?}");
        assert!(
            !seen(key) || covered[key as usize] == 1,
            "key {key}: {tile:?}"
        );
    }
    assert!(far_steps == 0 || seen(tile.far_lo));
    let near_steps = tile.steps - far_steps;
    assert!(near_steps == 0 || seen(tile.near_lo));
    assert!(near_steps == 0 || keys_of(tile.steps - 1).any(seen));
    // Full is exactly what every query sees whole.
    let full = |step: &i32| {
        let keys = keys_of(*step);
        keys.len() as i32 == block_k
            && queries
                .clone()
                .all(|query| keys.clone().all(|key| matrix.sees(query, key)))
    };
    let marked = (tile.far_full_lo..tile.far_full_hi).chain(tile.near_full_lo..tile.near_full_hi);
    assert_eq!(
        marked.collect::<Vec<_>>(),
        (0..tile.steps).filter(full).collect::<Vec<_>>()
    );
    assert!(0 <= tile.far_full_lo && tile.far_full_lo <= tile.far_full_hi);
    assert!(tile.far_full_hi <= far_steps && far_steps <= tile.near_full_lo);
    assert!(tile.near_full_lo <= tile.near_full_hi && tile.near_full_hi <= tile.steps);
}

/// Checks the tile; returns the full steps that are not marked.
fn check_key_tile(tile: &KeyTile, matrix: &Matrix, block_q: i32, block_k: i32) -> Vec<i32> {
    let keys = tile.k0..matrix.end(tile.k0, block_k);
    let seeing = |query: &i32| keys.clone().any(|key| matrix.sees(*query, key));
    let all: Vec<i32> = (0..matrix.tokens).filter(seeing).collect();
    match (all.first(), all.last()) {
        (Some(first), Some(last)) => {
            assert_eq!(tile.q_lo, *first);
            assert_eq!(tile.steps, (last + 1 - first + block_q - 1) / block_q);
        }
        _ => assert_eq!((tile.q_lo, tile.steps), (tile.k0, 0)),
    }
    assert!(0 <= tile.full_lo && tile.full_lo <= tile.full_hi && tile.full_hi <= tile.steps);
    assert!(tile.full_lo < tile.full_hi || tile.full_lo == 0);
    let full = |step: &i32| {
        let lo = tile.q_lo + step * block_q;
        (lo..lo + block_q).all(|query| keys.clone().all(|key| matrix.sees(query, key)))
    };
    assert!(
        (tile.full_lo..tile.full_hi).all(|step| full(&step)),
        "{tile:?}"
    );
    let marked = tile.full_lo..tile.full_hi;
    (0..tile.steps)
        .filter(full)
        .filter(|step| !marked.contains(step))
        .collect()
}

fn check_lists(stream: &Stream, block_q: i32, block_k: i32, window: Option<i64>) -> bool {
    let matrix = Matrix::of(stream, window);
    let tiling = Tiling::new(block_q.into(), block_k.into(), window).unwrap();
    let queries = query_tiles(&stream.runs(), &tiling);
    for tile in &queries {
        check_query_tile(tile, &matrix, stream, block_q, block_k);
    }
    check_order(
        queries.iter().map(|tile| (tile.steps, tile.q0)),
        stream,
        block_q,
    );
    let keys = key_tiles(&stream.runs(), &tiling);
    let missed = keys
        .iter()
        .flat_map(|tile| check_key_tile(tile, &matrix, block_q, block_k));
    check_order(
        keys.iter().map(|tile| (tile.steps, tile.k0)),
        stream,
        block_k,
    );
    missed.count() == 0
}

/// Every tile once, most steps first, then in stream order.
fn check_order(tiles: impl Iterator<Item = (i32, i32)>, stream: &Stream, block: i32) {
    let tiles: Vec<(i32, i32)> = tiles.collect();
    let mut sorted = tiles.clone();
    sorted.sort_by_key(|(steps, first)| (-steps, *first));
    assert_eq!(tiles, sorted);
    let mut starts: Vec<i32> = tiles.iter().map(|(_, first)| *first).collect();
    starts.sort_unstable();
    assert_eq!(
        starts,
        (0..stream.len())
            .step_by(block as usize)
            .collect::<Vec<_>>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_visible_pair_is_in_one_step_and_full_steps_are_full(
        stream in stream(), block_q in 1_i32..40, block_k in 1_i32..40, window in window()
    ) {
        check_lists(&stream, block_q, block_k, window);
    }

    #[test]
    fn packed_segments_get_all_their_full_steps(
        lengths in prop::collection::vec(1_i32..90, 1..4),
        block_q in 1_i32..20, block_k in 1_i32..20, window in window()
    ) {
        let mut stream = Stream::default();
        lengths.iter().for_each(|tokens| stream.push_segment(*tokens, &[]));
        prop_assert!(check_lists(&stream, block_q, block_k, window));
    }

    #[test]
    fn a_shared_prefix_gets_all_its_full_steps(
        trunk in 1_i32..60, branches in prop::collection::vec(1_i32..60, 1..5),
        block_q in 1_i32..20, block_k in 1_i32..20
    ) {
        let mut stream = Stream::default();
        let branches: Vec<(i32, i32)> = branches.iter().map(|tokens| (trunk, *tokens)).collect();
        stream.push_segment(trunk, &branches);
        prop_assert!(check_lists(&stream, block_q, block_k, None));
    }

    #[test]
    fn any_vectors_are_an_error_or_a_layout(
        entries in prop::collection::vec(any::<[i32; 4]>(), 0..20),
        small in prop::collection::vec(prop::array::uniform4(-1_i32..8), 0..8),
        row_tokens in prop_oneof![any::<i64>(), 1_i64..9], cut in 0_usize..40
    ) {
        for entries in [entries, small] {
            let column = |field: usize| entries.iter().map(|entry| entry[field]).collect::<Vec<_>>();
            let (mut position, segment_start) = (column(3), column(0));
            position.truncate(cut);
            let stream = Stream { segment_start, prefix_end: column(1), branch_start: column(2), position };
            for row_tokens in [row_tokens, entries.len() as i64] {
                let layout = AttentionLayout { row_tokens, ..stream.layout() };
                if layout.validate().is_ok() {
                    check_lists(&stream, 3, 2, Some(2));
                }
            }
        }
    }

    #[test]
    fn one_changed_entry_is_found_or_makes_another_layout(
        stream in stream(), field in 0_usize..4, token: prop::sample::Index, by in -3_i32..4
    ) {
        let mut changed = stream;
        let vectors = [
            &mut changed.segment_start, &mut changed.prefix_end, &mut changed.branch_start, &mut changed.position,
        ];
        if !vectors[field].is_empty() {
            let token = token.index(vectors[field].len());
            vectors[field][token] += by;
        }
        prop_assert_eq!(changed.layout().validate().is_ok(), is_whole(&changed));
    }
}

/// The rules, token by token, as they are written down.
fn is_whole(stream: &Stream) -> bool {
    let at = |t: usize| {
        (
            stream.segment_start[t],
            stream.prefix_end[t],
            stream.branch_start[t],
        )
    };
    (0..stream.position.len()).all(|t| {
        let ((s, p, b), token) = (at(t), t as i32);
        let before = at(t.saturating_sub(1));
        let trunk = || at((p - 1).max(s) as usize);
        let seen =
            s >= 0 && s <= p && p <= b && b <= token && stream.position[t] == p - s + token - b;
        let blank = (s, p, b, stream.position[t]) == (token, token, token + 1, 0);
        blank
            || (seen
                && (b == token || (s, p, b) == before)
                && (s == token || s == before.0)
                && (trunk().0, trunk().2) == (s, s))
    })
}

fn message(stream: &Stream, row_tokens: i64) -> String {
    let layout = AttentionLayout {
        row_tokens,
        ..stream.layout()
    };
    layout.validate().unwrap_err().to_string()
}

#[test]
fn the_first_wrong_token_is_named_with_its_values() {
    let mut stream = Stream::default();
    stream.push_segment(4, &[]);
    stream.push_segment(4, &[]);
    stream.position[7] = 0;
    stream.segment_start[5] = 3;
    let values = "layout: token 5 (segment_start=3, prefix_end=4, branch_start=4, position=1, row_tokens=4): ";
    assert_eq!(
        message(&stream, 4),
        format!("{values}its segment starts in an earlier row")
    );
    stream.segment_start[5] = 4;
    assert!(message(&stream, 8).starts_with("layout: token 7 ("));
}

#[test]
fn a_segment_does_not_go_on_into_the_next_row() {
    let mut stream = Stream::default();
    stream.push_segment(100, &[]);
    assert!(stream.layout().validate().is_ok());
    assert!(message(&stream, 50).contains("token 50 (segment_start=0"));
    assert!(message(&stream, 30).contains("100 tokens a whole number of rows"));
    assert!(message(&stream, 0).starts_with("row_tokens is 0"));
}

#[test]
fn nobody_sees_a_blank_token() {
    let mut stream = Stream::default();
    stream.push_blanks(1);
    stream.push_segment(2, &[]);
    assert!(stream.layout().validate().is_ok());
    (stream.segment_start[1], stream.position[1]) = (0, 1);
    assert!(stream.layout().validate().is_err());
    let mut blanks = Stream::default();
    blanks.push_blanks(5);
    let tiling = Tiling::new(2, 2, None).unwrap();
    assert!(
        query_tiles(&blanks.runs(), &tiling)
            .iter()
            .all(|tile| tile.steps == 0)
    );
    assert!(
        key_tiles(&blanks.runs(), &tiling)
            .iter()
            .all(|tile| tile.steps == 0)
    );
}

#[test]
fn settings_out_of_range_are_named() {
    for (block_q, block_k, window, name) in [
        (0, 1, None, "block_q is 0"),
        (1, 1 << 31, None, "block_k is 2147483648"),
        (1, 1, Some(0), "window is 0"),
    ] {
        let error = Tiling::new(block_q, block_k, window)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(name), "{error}");
    }
    assert!(Tiling::new(1, 1, Some(i64::MAX)).is_ok());
}
