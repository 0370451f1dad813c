//! Byte-pair encoding of one piece: join the neighbours of smallest rank, leftmost first, until none can be joined.
//! (Sennrich et al., *Neural Machine Translation of Rare Words with Subword Units*, 2016, section 3.2, on bytes.)
//!
//! Short pieces look for the smallest rank by a linear scan, O(n²) of a very small n; long ones keep candidates in a heap,
//! O(n log n), so that no input is quadratic.

use crate::pairs::{Joined, PairTable};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Longest piece that the linear scan handles. Beyond it the heap is faster.
const SCAN_MOST: usize = 48;
/// "No neighbour."
const END: u32 = u32::MAX;

/// Buffers of the merge loop, kept between pieces.
#[derive(Default)]
pub struct MergeBuffers {
    /// Linked list over the piece's bytes: token, and the places of its neighbours.
    nodes: Vec<Node>,
    /// Candidates: rank in the high half, place in the low half; smallest first.
    heap: BinaryHeap<Reverse<u64>>,
}

#[derive(Clone, Copy)]
struct Node {
    /// Token that starts here; meaningless once it was joined to the left.
    id: u32,
    /// What this token and the next one become.
    joined: Joined,
    /// Place of the token before.
    previous: u32,
    /// Place of the token after.
    next: u32,
}

/// Appends the tokens of `piece` (at most `u32::MAX - 1` bytes) to `ids`.
pub fn merge(
    pairs: &PairTable,
    bytes: &[u32; 256],
    piece: &[u8],
    buffers: &mut MergeBuffers,
    ids: &mut Vec<u32>,
) {
    if piece.len() <= SCAN_MOST {
        merge_by_scan(pairs, bytes, piece, ids);
    } else {
        merge_by_heap(pairs, bytes, piece, buffers, ids);
    }
}

fn merge_by_scan(pairs: &PairTable, bytes: &[u32; 256], piece: &[u8], ids: &mut Vec<u32>) {
    let mut tokens = [0_u32; SCAN_MOST];
    let mut joined = [Joined::NEVER; SCAN_MOST];
    let mut count = piece.len();
    for (token, &byte) in tokens.iter_mut().zip(piece) {
        *token = bytes[usize::from(byte)];
    }
    for place in 1..count {
        joined[place - 1] = pairs.get(tokens[place - 1], tokens[place]);
    }
    while let Some((place, best)) = smallest(&joined[..count.saturating_sub(1)]) {
        tokens[place] = best.id;
        tokens.copy_within(place + 2..count, place + 1);
        joined.copy_within(place + 1..count, place);
        count -= 1;
        joined[place] = if place + 1 < count {
            pairs.get(best.id, tokens[place + 1])
        } else {
            Joined::NEVER
        };
        if place > 0 {
            joined[place - 1] = pairs.get(tokens[place - 1], best.id);
        }
    }
    ids.extend_from_slice(&tokens[..count]);
}

/// The leftmost of the smallest ranks, `None` if nothing can be joined.
#[inline]
fn smallest(joined: &[Joined]) -> Option<(usize, Joined)> {
    let mut best = (0, Joined::NEVER);
    for (place, &candidate) in joined.iter().enumerate() {
        if candidate.rank < best.1.rank {
            best = (place, candidate);
        }
    }
    (best.1 != Joined::NEVER).then_some(best)
}

fn merge_by_heap(
    pairs: &PairTable,
    bytes: &[u32; 256],
    piece: &[u8],
    buffers: &mut MergeBuffers,
    ids: &mut Vec<u32>,
) {
    let MergeBuffers { nodes, heap } = buffers;
    link(pairs, bytes, piece, nodes);
    // One heapify is O(n); pushing one by one is O(n log n).
    let mut candidates = std::mem::take(heap).into_vec();
    candidates.clear();
    candidates.extend(
        (0..)
            .zip(&*nodes)
            .filter_map(|(place, node)| candidate(place, node.joined)),
    );
    *heap = candidates.into();
    while let Some(Reverse(top)) = heap.pop() {
        let (rank, place) = ((top >> 32) as u32, top as u32);
        // A candidate whose tokens have changed since it was put here.
        if nodes[place as usize].joined.rank != rank {
            continue;
        }
        join(pairs, nodes, place);
        let previous = nodes[place as usize].previous;
        heap.extend(candidate(place, nodes[place as usize].joined));
        if previous != END {
            heap.extend(candidate(previous, nodes[previous as usize].joined));
        }
    }
    let mut place = 0;
    while place != END {
        ids.push(nodes[place as usize].id);
        place = nodes[place as usize].next;
    }
}

/// One node per byte.
fn link(pairs: &PairTable, bytes: &[u32; 256], piece: &[u8], nodes: &mut Vec<Node>) {
    nodes.clear();
    let last = piece.len() as u32 - 1;
    nodes.extend((0..).zip(piece).map(|(place, &byte)| Node {
        id: bytes[usize::from(byte)],
        joined: match piece.get(place as usize + 1) {
            Some(&next) => pairs.get(bytes[usize::from(byte)], bytes[usize::from(next)]),
            None => Joined::NEVER,
        },
        previous: if place == 0 { END } else { place - 1 },
        next: if place == last { END } else { place + 1 },
    }));
}

/// Joins the token at `place` with its next one, and looks up what its new neighbours make with it.
fn join(pairs: &PairTable, nodes: &mut [Node], place: u32) {
    let Node {
        joined: Joined { id, .. },
        next: absorbed,
        previous,
        ..
    } = nodes[place as usize];
    let next = nodes[absorbed as usize].next;
    // No candidate at the absorbed place can match any more.
    nodes[absorbed as usize].joined = Joined::NEVER;
    let joined = match nodes.get_mut(next as usize) {
        Some(after) => {
            after.previous = place;
            pairs.get(id, after.id)
        }
        None => Joined::NEVER,
    };
    nodes[place as usize] = Node {
        id,
        joined,
        previous,
        next,
    };
    if previous != END {
        nodes[previous as usize].joined = pairs.get(nodes[previous as usize].id, id);
    }
}

#[inline]
fn candidate(place: u32, joined: Joined) -> Option<Reverse<u64>> {
    (joined != Joined::NEVER).then(|| Reverse(u64::from(joined.rank) << 32 | u64::from(place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::PairTable;
    use crate::train::tests::trained;
    use proptest::prelude::*;

    fn both_ways(pairs: &PairTable, bytes: &[u32; 256], piece: &[u8]) -> [Vec<u32>; 2] {
        let (mut scanned, mut heaped) = (Vec::new(), Vec::new());
        merge_by_scan(pairs, bytes, piece, &mut scanned);
        merge_by_heap(
            pairs,
            bytes,
            piece,
            &mut MergeBuffers::default(),
            &mut heaped,
        );
        [scanned, heaped]
    }

    proptest! {
        #[test]
        fn the_scan_and_the_heap_agree(corpus in "[ab ]{1,80}", piece in "[ab ]{1,48}", merges in 0_usize..60) {
            let model = trained(&corpus, 256 + merges);
            let bytes = model.validate().unwrap();
            let [scanned, heaped] = both_ways(&PairTable::of(&model), &bytes, piece.as_bytes());
            prop_assert_eq!(&scanned, &heaped);
            let text: Vec<u8> = scanned.iter().flat_map(|&id| model.tokens.get(id).to_vec()).collect();
            prop_assert_eq!(text, piece.into_bytes());
        }
    }

    #[test]
    fn equal_ranks_are_joined_from_the_left() {
        let model = trained("aa aa", 257);
        let bytes = model.validate().unwrap();
        let [scanned, heaped] = both_ways(&PairTable::of(&model), &bytes, b"aaa");
        assert_eq!(scanned, [256, bytes[usize::from(b'a')]]);
        assert_eq!(heaped, scanned);
    }
}
