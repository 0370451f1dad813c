//! A few queries by the keys of a few pages: scores, weights, weighted values.
//!
//! Of each query the arithmetic is one sequence, whatever the tile: page by page, a score sums over the width in order;
//! the running maximum, the sums of weights and the output are rescaled where the page raises the maximum; the output
//! adds weight times value, key by key. Tiles only decide which of these sequences run side by side.

#![allow(
    clippy::needless_range_loop,
    reason = "one index goes through several arrays of a length known at compile time"
)]

use std::ops::Range;

use stategpt_simd::{LANES, Simd, Work, exp2, tanh};

use crate::element::Element;
use crate::queries::{Chunk, Queries};

/// Most pages of a step.
pub const PAGES: usize = 4;

/// Pages of one key-value head, the keys of neighboring positions.
pub struct Blocks<'a, E> {
    /// Number of pages.
    pub count: usize,
    /// Position of the first key.
    pub position: usize,
    /// Keys of each page: number d of 16 keys, then number d + 1 of them.
    pub keys: [&'a [[E; LANES]]; PAGES],
    /// Values of each page, key by key.
    pub values: [&'a [E]; PAGES],
    /// The last numbers of each value where the width is no multiple of 16, filled up with zeros.
    pub tails: [[[E; LANES]; LANES]; PAGES],
}

/// Scores before and weights after the softmax, for each page of a step.
type Weights = [Chunk; PAGES];

/// Takes pages into the results of queries `at..at + R`.
pub struct Step<'a, E, const R: usize> {
    /// The pages.
    pub blocks: &'a Blocks<'a, E>,
    /// The queries.
    pub queries: &'a mut Queries,
    /// The first of the tile.
    pub at: usize,
    /// Softcap, of scores in units of log 2.
    pub cap: Option<f32>,
}

impl<E: Element, const R: usize> Work for Step<'_, E, R> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        step::<S, E, R>(simd, self.blocks, self.queries, self.at, self.cap);
    }
}

#[inline(always)]
fn step<S: Simd, E: Element, const R: usize>(
    simd: S,
    blocks: &Blocks<'_, E>,
    queries: &mut Queries,
    at: usize,
    cap: Option<f32>,
) {
    let end = blocks.position + blocks.count * LANES;
    let (mut some, mut whole) = (false, true);
    for query in at..at + R {
        let (first, last) = (queries.first[query], queries.last[query]);
        some |= last >= blocks.position && first < end;
        whole &= last + 1 >= end && first <= blocks.position;
    }
    if !some {
        return;
    }
    let mut weights = [[[0.0; LANES]; PAGES]; R];
    scores(simd, blocks, queries, at, &mut weights);
    let mut factors = [[1.0; PAGES]; R];
    let mut seen = [const { [const { 0..LANES }; R] }; PAGES];
    // Whether all queries of the tile see the same slots of the page, as those of one token do.
    let mut alike = [true; PAGES];
    for block in 0..blocks.count {
        for row in 0..R {
            if !whole {
                let position = blocks.position + block * LANES;
                seen[block][row] = seen_slots(queries, at + row, position);
                alike[block] &= seen[block][row] == seen[block][0];
            }
            if !seen[block][row].is_empty() {
                let (chunk, seen) = (&mut weights[row][block], seen[block][row].clone());
                factors[row][block] = soften(simd, queries, at + row, chunk, seen, cap);
            }
        }
    }
    let mut block = 0;
    while block < blocks.count {
        let mut end = block + 1;
        if alike[block] {
            let slots = seen[block][0].clone();
            while end < blocks.count && alike[end] && slots.len() == LANES && seen[end][0] == slots
            {
                end += 1;
            }
            if !slots.is_empty() {
                let (weights, factors) = (&weights, &factors);
                let sum = Sum {
                    weights,
                    factors,
                    pages: block..end,
                    seen: slots,
                };
                sum.add(simd, blocks, queries, at);
            }
        } else {
            for (row, seen) in seen[block].iter().enumerate() {
                if !seen.is_empty() {
                    let (weights, factors) = (&[weights[row]], &[factors[row]]);
                    let sum = Sum {
                        weights,
                        factors,
                        pages: block..end,
                        seen: seen.clone(),
                    };
                    sum.add(simd, blocks, queries, at + row);
                }
            }
        }
        block = end;
    }
}

/// Slots of the page that begins at `position` that a query sees.
#[inline(always)]
fn seen_slots(queries: &Queries, query: usize, position: usize) -> Range<usize> {
    let end = (queries.last[query] + 1)
        .saturating_sub(position)
        .min(LANES);
    let start = queries.first[query].saturating_sub(position).min(end);
    if start == end { 0..0 } else { start..end }
}

/// q . k for all queries of the tile and all keys of the pages.
#[inline(always)]
fn scores<S: Simd, E: Element, const R: usize>(
    simd: S,
    blocks: &Blocks<'_, E>,
    queries: &Queries,
    at: usize,
    weights: &mut [Weights; R],
) {
    let width = queries.width;
    let mut q = [&queries.q[..0]; R];
    for row in 0..R {
        q[row] = &queries.q[(at + row) * width..][..width];
    }
    // As many pages at a time as there are registers for; more than 8 sums hide the latency of an addition.
    let mut block = 0;
    if R == 1 {
        while block + 4 <= blocks.count {
            scores_of::<S, E, R, 4>(simd, &blocks.keys, &q, block, weights);
            block += 4;
        }
    }
    if R == 2 || R == 3 {
        while block + 2 <= blocks.count {
            scores_of::<S, E, R, 2>(simd, &blocks.keys, &q, block, weights);
            block += 2;
        }
    }
    while block < blocks.count {
        scores_of::<S, E, R, 1>(simd, &blocks.keys, &q, block, weights);
        block += 1;
    }
}

#[inline(always)]
fn scores_of<S: Simd, E: Element, const R: usize, const B: usize>(
    simd: S,
    pages: &[&[[E; LANES]]; PAGES],
    q: &[&[f32]; R],
    block: usize,
    weights: &mut [Weights; R],
) {
    let width = q[0].len();
    let mut keys = [&pages[0][..0]; B];
    for number in 0..B {
        keys[number] = &pages[block + number][..width];
    }
    let mut rows = *q;
    for row in &mut rows {
        *row = &row[..width];
    }
    let mut sums = [[simd.splat(0.0); B]; R];
    for d in 0..width {
        let mut column = [simd.splat(0.0); B];
        for number in 0..B {
            column[number] = E::lanes(simd, &keys[number][d]);
        }
        for row in 0..R {
            let x = simd.splat(rows[row][d]);
            for number in 0..B {
                sums[row][number] = simd.fma(x, column[number], sums[row][number]);
            }
        }
    }
    for row in 0..R {
        for number in 0..B {
            simd.store(sums[row][number], &mut weights[row][block + number]);
        }
    }
}

/// Scores of slots that are not seen become minus infinity.
#[inline(never)]
fn hide(chunk: &mut Chunk, seen: &Range<usize>) {
    for (slot, score) in chunk.iter_mut().enumerate() {
        if !seen.contains(&slot) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Makes weights of a page's scores. Returns the factor by which the output so far is to be rescaled.
#[inline(always)]
fn soften<S: Simd>(
    simd: S,
    queries: &mut Queries,
    query: usize,
    chunk: &mut Chunk,
    seen: Range<usize>,
    cap: Option<f32>,
) -> f32 {
    let mut scores = simd.load(chunk);
    if let Some(cap) = cap {
        scores = simd.mul(simd.splat(cap), tanh(simd, scores));
    }
    if seen != (0..LANES) {
        simd.store(scores, chunk);
        hide(chunk, &seen);
        scores = simd.load(chunk);
    }
    let (top, best) = (queries.top[query], simd.max_lane(scores));
    let (mut new, mut factor) = (top, 1.0);
    if best > top {
        new = best;
        factor = simd.max_lane(exp2(simd, simd.splat(top - new)));
        queries.top[query] = new;
    }
    let weights = exp2(simd, simd.sub(scores, simd.splat(new)));
    let sums = simd.load(&queries.sums[query]);
    let sums = simd.fma(sums, simd.splat(factor), weights);
    simd.store(sums, &mut queries.sums[query]);
    simd.store(weights, chunk);
    factor
}

/// What is added to the outputs of a tile: weight times value of the slots `seen` of the pages `pages`.
struct Sum<'a, const R: usize> {
    weights: &'a [Weights; R],
    factors: &'a [[f32; PAGES]; R],
    pages: Range<usize>,
    seen: Range<usize>,
}

impl<const R: usize> Sum<'_, R> {
    /// Adds to the outputs of queries `at..at + R`, as many chunks at a time as there are registers for.
    #[inline(always)]
    fn add<S: Simd, E: Element>(
        &self,
        simd: S,
        blocks: &Blocks<'_, E>,
        queries: &mut Queries,
        at: usize,
    ) {
        let (width, stride) = (queries.width, queries.chunks);
        let o = &mut queries.o[at * stride..(at + R) * stride];
        let whole = width / LANES;
        let mut chunk = 0;
        if R == 1 {
            while chunk + 4 <= whole {
                let from = (&blocks.values, width, chunk * LANES);
                self.add_to::<S, E, 4>(simd, from, o, stride, chunk);
                chunk += 4;
            }
        }
        if R == 2 || R == 3 {
            while chunk + 2 <= whole {
                let from = (&blocks.values, width, chunk * LANES);
                self.add_to::<S, E, 2>(simd, from, o, stride, chunk);
                chunk += 2;
            }
        }
        let tails = blocks.tails.each_ref().map(|tail| tail.as_flattened());
        while chunk < stride {
            let from = if chunk < whole {
                (&blocks.values, width, chunk * LANES)
            } else {
                (&tails, LANES, 0)
            };
            self.add_to::<S, E, 1>(simd, from, o, stride, chunk);
            chunk += 1;
        }
    }

    /// Adds to chunks `chunk..chunk + C` of the outputs, which are `stride` chunks apart. Values are (pages, numbers from
    /// one value to the next, first number).
    #[inline(always)]
    fn add_to<S: Simd, E: Element, const C: usize>(
        &self,
        simd: S,
        (values, width, start): (&[&[E]; PAGES], usize, usize),
        o: &mut [Chunk],
        stride: usize,
        chunk: usize,
    ) {
        let mut sums = [[simd.splat(0.0); C]; R];
        for row in 0..R {
            for number in 0..C {
                sums[row][number] = simd.load(&o[row * stride + chunk + number]);
            }
        }
        for page in self.pages.clone() {
            for row in 0..R {
                let factor = self.factors[row][page];
                if factor != 1.0 {
                    for number in 0..C {
                        sums[row][number] = simd.mul(sums[row][number], simd.splat(factor));
                    }
                }
            }
            for slot in self.seen.clone() {
                let numbers = &values[page][slot * width + start..][..C * LANES];
                let (numbers, _) = numbers.as_chunks::<LANES>();
                let mut column = [simd.splat(0.0); C];
                for number in 0..C {
                    column[number] = E::lanes(simd, &numbers[number]);
                }
                for row in 0..R {
                    let x = simd.splat(self.weights[row][page][slot]);
                    for number in 0..C {
                        sums[row][number] = simd.fma(x, column[number], sums[row][number]);
                    }
                }
            }
        }
        for row in 0..R {
            for number in 0..C {
                simd.store(sums[row][number], &mut o[row * stride + chunk + number]);
            }
        }
    }
}
