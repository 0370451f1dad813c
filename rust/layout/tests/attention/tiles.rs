//! Every visible pair in one step, no mask only where nothing is hidden, the order of the tiles.

use proptest::prelude::*;
use stategpt_layout::{KeyTile, QueryTile, Tiling, key_tiles, query_tiles};

use crate::stream::{Matrix, Stream, stream};

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

/// Checks both lists; are all full steps of key tiles marked?
pub fn check_lists(stream: &Stream, block_q: i32, block_k: i32, window: Option<i64>) -> bool {
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
}

#[test]
fn blank_tokens_alone_take_no_steps() {
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
fn the_largest_blocks_and_windows_make_one_tile_of_one_step() {
    let mut stream = Stream::default();
    stream.push_segment(3, &[(2, 4), (3, 1)]);
    let most = i64::from(i32::MAX);
    for window in [None, Some(most), Some(i64::MAX)] {
        let tiling = Tiling::new(most, most, window).unwrap();
        let queries = query_tiles(&stream.runs(), &tiling);
        assert_eq!(queries[0].fields(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let keys = key_tiles(&stream.runs(), &tiling);
        assert_eq!(keys[0].fields(), [0, 0, 0, 0, 1]);
        assert_eq!((queries.len(), keys.len()), (1, 1));
    }
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
