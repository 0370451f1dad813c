//! Byte-pair encoding by definition: join the neighbors of smallest rank, leftmost first, until none can be joined.
//!
//! Short pre-tokens find the smallest rank by a linear scan, O(n²) for a very small n; long ones keep candidates in a heap, O(n
//! log n). Used where merges come before their parts, for a token or two, and in tests.

use crate::keyed::KeyedMap;
use crate::model::Merge;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The maximum number of bytes for the linear scan. Beyond it the heap is faster.
const MAX_SCAN_BYTES: usize = 48;
/// "No neighbor."
const END: u32 = u32::MAX;

/// The token that two neighbors are joined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// Smaller ranks first; [`u32::MAX`] means "never".
    pub rank: u32,
    /// Id of the joined token.
    pub id: u32,
}

impl Joined {
    /// Two neighbors that never merge.
    pub const NEVER: Self = Self {
        rank: u32::MAX,
        id: 0,
    };
}

/// A set of merges.
pub trait Merges {
    /// The token that two tokens are joined to.
    fn get(&self, left: u32, right: u32) -> Joined;

    /// The token of a byte.
    fn byte(&self, byte: u8) -> u32;

    /// Appends the tokens of `pre_token` (at most `u32::MAX - 1` bytes) to `ids`.
    fn merge(&self, pre_token: &[u8], buffers: &mut LoopBuffers, ids: &mut Vec<u32>)
    where
        Self: Sized,
    {
        if pre_token.len() <= MAX_SCAN_BYTES {
            merge_by_scan(self, pre_token, ids);
        } else {
            merge_by_heap(self, pre_token, buffers, ids);
        }
    }
}

/// All merges by the ids of their two parts, with their ranks.
pub struct Ranks {
    merges: KeyedMap<(u32, u32), Joined>,
    /// Id of each single byte.
    bytes: [u32; 256],
}

/// Buffers of the merge loop, kept between pre-tokens.
#[derive(Default)]
pub struct LoopBuffers {
    /// Linked list over the pre-token's bytes: token, and the positions of its neighbors.
    nodes: Vec<Node>,
    /// Candidates: rank in the high half, position in the low half; smallest first.
    heap: BinaryHeap<Reverse<u64>>,
}

#[derive(Clone, Copy)]
struct Node {
    /// The token that starts here; meaningless once it is joined to its left neighbor.
    id: u32,
    /// The token that this one and the next one are joined to.
    joined: Joined,
    /// Position of the previous token.
    previous: u32,
    /// Position of the next token.
    next: u32,
}

impl Ranks {
    /// The merges with their ranks; of equal pairs the last one counts.
    pub fn of(merges: impl IntoIterator<Item = (u32, Merge)>, bytes: &[u32; 256]) -> Self {
        let joined = |(rank, merge): (u32, Merge)| {
            let joined = Joined {
                rank,
                id: merge.joined,
            };
            ((merge.left, merge.right), joined)
        };
        Self {
            merges: merges.into_iter().map(joined).collect(),
            bytes: *bytes,
        }
    }
}

impl Merges for Ranks {
    fn get(&self, left: u32, right: u32) -> Joined {
        let found = self.merges.get(&(left, right));
        found.copied().unwrap_or(Joined::NEVER)
    }

    fn byte(&self, byte: u8) -> u32 {
        self.bytes[usize::from(byte)]
    }
}

fn merge_by_scan(ranks: &impl Merges, pre_token: &[u8], ids: &mut Vec<u32>) {
    let mut tokens = [0_u32; MAX_SCAN_BYTES];
    let mut joined = [Joined::NEVER; MAX_SCAN_BYTES];
    let mut count = pre_token.len();
    for (token, &byte) in tokens.iter_mut().zip(pre_token) {
        *token = ranks.byte(byte);
    }
    for place in 1..count {
        joined[place - 1] = ranks.get(tokens[place - 1], tokens[place]);
    }
    while let Some((place, best)) = smallest(&joined[..count.saturating_sub(1)]) {
        tokens[place] = best.id;
        tokens.copy_within(place + 2..count, place + 1);
        joined.copy_within(place + 1..count, place);
        count -= 1;
        joined[place] = if place + 1 < count {
            ranks.get(best.id, tokens[place + 1])
        } else {
            Joined::NEVER
        };
        if place > 0 {
            joined[place - 1] = ranks.get(tokens[place - 1], best.id);
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
    ranks: &impl Merges,
    pre_token: &[u8],
    buffers: &mut LoopBuffers,
    ids: &mut Vec<u32>,
) {
    let LoopBuffers { nodes, heap } = buffers;
    link(ranks, pre_token, nodes);
    // Heapify is O(n); pushing one by one is O(n log n).
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
        // A stale candidate: its tokens have changed.
        if nodes[place as usize].joined.rank != rank {
            continue;
        }
        join(ranks, nodes, place);
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
fn link(ranks: &impl Merges, pre_token: &[u8], nodes: &mut Vec<Node>) {
    nodes.clear();
    let last = pre_token.len() as u32 - 1;
    nodes.extend((0..).zip(pre_token).map(|(place, &byte)| Node {
        id: ranks.byte(byte),
        joined: match pre_token.get(place as usize + 1) {
            Some(&next) => ranks.get(ranks.byte(byte), ranks.byte(next)),
            None => Joined::NEVER,
        },
        previous: if place == 0 { END } else { place - 1 },
        next: if place == last { END } else { place + 1 },
    }));
}

/// Joins the token at `place` with the next one, and looks up the merges with its new neighbors.
fn join(ranks: &impl Merges, nodes: &mut [Node], place: u32) {
    let Node {
        joined: Joined { id, .. },
        next: absorbed,
        previous,
        ..
    } = nodes[place as usize];
    let next = nodes[absorbed as usize].next;
    // No candidate at the absorbed position can match any more.
    nodes[absorbed as usize].joined = Joined::NEVER;
    let joined = match nodes.get_mut(next as usize) {
        Some(after) => {
            after.previous = place;
            ranks.get(id, after.id)
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
        nodes[previous as usize].joined = ranks.get(nodes[previous as usize].id, id);
    }
}

#[inline]
fn candidate(place: u32, joined: Joined) -> Option<Reverse<u64>> {
    (joined != Joined::NEVER).then(|| Reverse(u64::from(joined.rank) << 32 | u64::from(place)))
}
