//! Queries, keys and values from their joint projection: normed, rotated, each to its place.
//!
//! Pairs of a rotation are (x\[i\], x\[i + D/2\]), as in GPT-NeoX; at position p pair i turns by the angle whose cosine and sine
//! are given for the token.

use stategpt_simd::{LANES, Simd, Tier, Work};

use crate::chunks::{load, store};
use crate::error::{Error, expect, rows_of};
use crate::norm::normalize;
use crate::spread::{rows_of_part, spread};

/// How a token's projection is divided into heads, and what is done to them.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    /// H, query heads.
    pub queries: usize,
    /// G, key heads, and as many value heads.
    pub keys: usize,
    /// D, numbers of a head.
    pub width: usize,
    /// Weights \[H + G, D\] of the norms of queries and keys, and epsilon.
    pub norm: Option<(&'a [f32], f32)>,
    /// Cosines and sines \[N, D / 2\].
    pub rotary: Option<(&'a [f32], &'a [f32])>,
    /// Threads that work at most.
    pub threads: usize,
}

/// Divides `qkv` \[N, H + 2 G, D\] into `q` \[N, H, D\], `k` \[N, G, D\] and `v` \[N, G, D\].
pub fn split_heads(
    qkv: &[f32],
    heads: &Heads<'_>,
    q: &mut [f32],
    k: &mut [f32],
    v: &mut [f32],
) -> Result<(), Error> {
    let Heads {
        queries,
        keys,
        width,
        ..
    } = *heads;
    if width == 0 || !width.is_multiple_of(2) {
        return Err(Error::Width(width));
    }
    let own = (queries + 2 * keys) * width;
    let rows = rows_of(qkv.len(), own)?;
    expect("q", q.len(), rows * queries * width)?;
    expect("k", k.len(), rows * keys * width)?;
    expect("v", v.len(), rows * keys * width)?;
    if let Some((weight, _)) = heads.norm {
        expect("the norms", weight.len(), (queries + keys) * width)?;
    }
    if let Some((cosines, sines)) = heads.rotary {
        expect("cosines", cosines.len(), rows * width / 2)?;
        expect("sines", sines.len(), rows * width / 2)?;
    }
    if keys == 0 || queries == 0 {
        return expect("heads", 0, 1);
    }
    let part = rows_of_part(rows, own, heads.threads);
    let parts = qkv
        .chunks(part * own)
        .zip(q.chunks_mut(part * queries * width))
        .zip(k.chunks_mut(part * keys * width))
        .zip(v.chunks_mut(part * keys * width));
    let parts = parts.enumerate().map(|(number, (((qkv, q), k), v))| Part {
        heads,
        first: number * part,
        qkv,
        q,
        k,
        v,
    });
    spread(parts.collect(), |part| Tier::of_machine().run(part));
    Ok(())
}

struct Part<'a> {
    heads: &'a Heads<'a>,
    /// Number of the first token.
    first: usize,
    qkv: &'a [f32],
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
}

impl Work for Part<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Heads {
            queries,
            keys,
            width,
            ..
        } = *self.heads;
        let tokens = self.qkv.chunks(((queries + 2 * keys) * width).max(1));
        let q = self.q.chunks_mut(queries * width);
        let k = self.k.chunks_mut(keys * width);
        let v = self.v.chunks_mut(keys * width);
        for (token, (((qkv, q), k), v)) in tokens.zip(q).zip(k).zip(v).enumerate() {
            let (sources, values) = qkv.split_at((queries + keys) * width);
            v.copy_from_slice(values);
            let targets = q.chunks_mut(width).chain(k.chunks_mut(width));
            for (head, (x, out)) in sources.chunks(width).zip(targets).enumerate() {
                match self.heads.norm {
                    Some((weight, epsilon)) => {
                        let weight = &weight[head * width..][..width];
                        normalize(simd, x, weight, epsilon, out);
                    }
                    None => out.copy_from_slice(x),
                }
                if let Some((cosines, sines)) = self.heads.rotary {
                    let own = (self.first + token) * (width / 2);
                    let cosines = &cosines[own..][..width / 2];
                    turn(simd, out, cosines, &sines[own..][..width / 2]);
                }
            }
        }
    }
}

/// Turns each pair of a head by its angle: (a cos - b sin, b cos + a sin).
#[inline(always)]
fn turn<S: Simd>(simd: S, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (first, second) = head.split_at_mut(cosines.len());
    let pairs = first.chunks_mut(LANES).zip(second.chunks_mut(LANES));
    let angles = cosines.chunks(LANES).zip(sines.chunks(LANES));
    for ((first, second), (cosine, sine)) in pairs.zip(angles) {
        let (a, b) = (load(simd, first, 0.0), load(simd, second, 0.0));
        let (cosine, sine) = (load(simd, cosine, 0.0), load(simd, sine, 0.0));
        let turned = simd.sub(simd.mul(a, cosine), simd.mul(b, sine));
        store(simd, turned, first);
        store(simd, simd.fma(a, sine, simd.mul(b, cosine)), second);
    }
}
