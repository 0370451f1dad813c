//! Root-mean-square normalization (Zhang and Sennrich 2019, arXiv 1910.07467): y = x / sqrt(mean(x^2) + eps) * w.

use stategpt_simd::{LANES, Simd, Tier, Work};

use crate::chunks::{load, store, sum};
use crate::error::{Error, expect, rows_of};
use crate::spread::{rows_of_part, spread};

/// Adds `added` to the rows of `x`, where there is one, and writes the normalized rows into `out`.
///
/// A row has as many numbers as `weight`.
pub fn rms_norm(
    x: &mut [f32],
    added: Option<&[f32]>,
    weight: &[f32],
    epsilon: f32,
    out: &mut [f32],
    threads: usize,
) -> Result<(), Error> {
    let width = weight.len();
    let rows = rows_of(x.len(), width)?;
    expect("out", out.len(), x.len())?;
    expect("added", added.map_or(x.len(), <[f32]>::len), x.len())?;
    let part = rows_of_part(rows, width, threads) * width;
    let mut others = added.map(|added| added.chunks(part));
    let parts = x.chunks_mut(part).zip(out.chunks_mut(part));
    let parts = parts.map(|(x, out)| Rows {
        x,
        added: others.as_mut().and_then(Iterator::next),
        weight,
        epsilon,
        out,
    });
    spread(parts.collect(), |part| Tier::of_machine().run(part));
    Ok(())
}

struct Rows<'a> {
    x: &'a mut [f32],
    added: Option<&'a [f32]>,
    weight: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Work for Rows<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        let rows = self.x.chunks_mut(width).zip(self.out.chunks_mut(width));
        for (row, (x, out)) in rows.enumerate() {
            if let Some(added) = self.added {
                let added = &added[row * width..][..width];
                for (x, added) in x.chunks_mut(LANES).zip(added.chunks(LANES)) {
                    let total = simd.add(load(simd, x, 0.0), load(simd, added, 0.0));
                    store(simd, total, x);
                }
            }
            normalize(simd, x, self.weight, self.epsilon, out);
        }
    }
}

/// Normalizes one row.
#[inline(always)]
pub fn normalize<S: Simd>(simd: S, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut squares = simd.splat(0.0);
    for x in x.chunks(LANES) {
        let x = load(simd, x, 0.0);
        squares = simd.fma(x, x, squares);
    }
    let mean = sum(simd, squares) / x.len() as f32;
    let inverse = simd.splat(1.0 / (mean + epsilon).sqrt());
    let numbers = x.chunks(LANES).zip(weight.chunks(LANES));
    for ((x, weight), out) in numbers.zip(out.chunks_mut(LANES)) {
        let normed = simd.mul(load(simd, x, 0.0), inverse);
        store(simd, simd.mul(normed, load(simd, weight, 0.0)), out);
    }
}
