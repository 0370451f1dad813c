//! Draws a token of each row: inversion of the cumulative distribution at a uniform number.
//!
//! A row is read twice and stays in the first-level cache between: the largest logit first, then powers of 2 and their sums over
//! blocks of neighbors. The token is searched among the sums, then within its block.

use stategpt_simd::{LANES, Simd, Tier, Work, exp2};

use crate::chunks::{load, store};
use crate::error::{Error, expect, rows_of};
use crate::spread::{rows_of_part, spread};

/// Tokens whose sum is searched first.
const BLOCK: usize = 128;

/// How the tokens of some rows are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// V, logits of a row.
    pub vocabulary: usize,
    /// Which rows, R of them.
    pub rows: &'a [i64],
    /// Of each of them, what divides its logits; 0 takes the most likely token, of equally likely ones the first.
    pub temperatures: &'a [f32],
    /// Of each of them, a number from 0 to 1, which decides the token.
    pub uniforms: &'a [f64],
    /// Tokens that are never drawn.
    pub removed: &'a [i64],
    /// Threads that work at most.
    pub threads: usize,
}

/// Writes for each of R rows of `logits` \[M, V\] a token, and its log-probability among those that are not removed; at
/// temperature 0 that of temperature 1. The token is -1 where logits are NaN or infinite, become so by the division, or where
/// none is left.
pub fn draw(
    logits: &[f32],
    draw: &Draw<'_>,
    tokens: &mut [i64],
    log_probs: &mut [f32],
) -> Result<(), Error> {
    let count = draw.rows.len();
    let rows = rows_of(logits.len(), draw.vocabulary)?;
    expect("temperatures", draw.temperatures.len(), count)?;
    expect("uniforms", draw.uniforms.len(), count)?;
    expect("tokens", tokens.len(), count)?;
    expect("log_probs", log_probs.len(), count)?;
    check("rows", draw.rows, rows)?;
    check("removed", draw.removed, draw.vocabulary)?;
    let part = rows_of_part(count, draw.vocabulary, draw.threads);
    let parts = tokens.chunks_mut(part).zip(log_probs.chunks_mut(part));
    let parts = parts.enumerate().map(|(number, (tokens, log_probs))| Part {
        logits,
        draw,
        first: number * part,
        tokens,
        log_probs,
    });
    spread(parts.collect(), |part| Tier::of_machine().run(part));
    Ok(())
}

fn check(name: &'static str, indices: &[i64], count: usize) -> Result<(), Error> {
    let outside = |index: &i64| usize::try_from(*index).map_or(true, |index| index >= count);
    match indices.iter().copied().find(outside) {
        Some(index) => Err(Error::Index { name, index, count }),
        None => Ok(()),
    }
}

struct Part<'a> {
    logits: &'a [f32],
    draw: &'a Draw<'a>,
    /// Number of the first of the rows.
    first: usize,
    tokens: &'a mut [i64],
    log_probs: &'a mut [f32],
}

impl Work for Part<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.draw.vocabulary;
        let mut scores = vec![0.0; width.next_multiple_of(BLOCK)];
        let mut sums = vec![0.0; scores.len() / BLOCK];
        for (at, (token, log_prob)) in self.tokens.iter_mut().zip(self.log_probs).enumerate() {
            let number = self.first + at;
            let row = &self.logits[self.draw.rows[number] as usize * width..][..width];
            scores[..width].copy_from_slice(row);
            scores[width..].fill(f32::NEG_INFINITY); // whole blocks, by what has no probability
            let mut broken = false;
            for &removed in self.draw.removed {
                let score = &mut scores[removed as usize];
                broken |= score.is_nan() || *score == f32::INFINITY;
                *score = f32::NEG_INFINITY;
            }
            let temperature = self.draw.temperatures[number];
            let uniform = self.draw.uniforms[number];
            let drawn = of_row(simd, &mut scores, &mut sums, temperature, uniform);
            (*token, *log_prob) = match drawn {
                Some(drawn) if !broken => (drawn.place as i64, drawn.log_prob(row)),
                _ => (-1, f32::NAN),
            };
        }
    }
}

/// The token of one row.
struct Drawn {
    place: usize,
    /// The largest logit.
    largest: f32,
    divisor: f32,
    /// Sum of all weights, relative to that of the largest logit.
    total: f64,
}

impl Drawn {
    fn log_prob(&self, row: &[f32]) -> f32 {
        let above = f64::from(row[self.place]) - f64::from(self.largest);
        (above / f64::from(self.divisor) - self.total.ln()) as f32
    }
}

/// Draws of one row, whose `scores` become weights; None where there is no distribution.
#[inline(always)]
fn of_row<S: Simd>(
    simd: S,
    scores: &mut [f32],
    sums: &mut [f64],
    temperature: f32,
    uniform: f64,
) -> Option<Drawn> {
    let mut largest = simd.splat(f32::NEG_INFINITY);
    for chunk in scores.chunks(LANES) {
        largest = simd.larger(load(simd, chunk, 0.0), largest);
    }
    let largest = simd.max_lane(largest);
    let greedy = temperature == 0.0;
    let divisor = if greedy { 1.0 } else { temperature };
    if !(largest / divisor).is_finite() {
        return None;
    }
    let place = scores.iter().position(|&score| greedy && score == largest);
    let scale = simd.splat(std::f32::consts::LOG2_E / divisor);
    let base = simd.splat(largest);
    let mut total = 0.0;
    for (block, sum) in scores.chunks_mut(BLOCK).zip(sums.iter_mut()) {
        let mut lanes = simd.splat(0.0);
        for chunk in block.chunks_mut(LANES) {
            let exponent = simd.mul(simd.sub(load(simd, chunk, 0.0), base), scale);
            let weight = exp2(simd, exponent);
            lanes = simd.add(lanes, weight);
            store(simd, weight, chunk);
        }
        let mut added = [0.0; LANES];
        simd.store(lanes, &mut added);
        total += added.iter().copied().map(f64::from).sum::<f64>();
        *sum = total;
    }
    // One NaN is enough to make it NaN.
    if !total.is_finite() {
        return None;
    }
    let place = match place {
        Some(place) => place,
        None => found(scores, sums, uniform * total),
    };
    Some(Drawn {
        place,
        largest,
        divisor,
        total,
    })
}

/// The first token whose cumulative weight exceeds the share of the total.
fn found(weights: &[f32], sums: &[f64], share: f64) -> usize {
    // The product can round up to the total, which no token exceeds.
    let total = sums.last().copied().unwrap_or(0.0);
    let target = share.min(total.next_down());
    let block = sums.partition_point(|&sum| sum <= target);
    let mut cumulative = if block == 0 { 0.0 } else { sums[block - 1] };
    let mut last = block * BLOCK;
    for (place, &weight) in weights.iter().enumerate().skip(last).take(BLOCK) {
        cumulative += f64::from(weight);
        if cumulative > target {
            return place;
        }
        if weight > 0.0 {
            last = place; // the block's sum was rounded otherwise than this one
        }
    }
    last
}
