//! The gated activation of an MLP (Shazeer 2020, arXiv 2002.05202): f(gate) * up.

use stategpt_simd::{LANES, Simd, Tier, Work, exp2_within, tanh};

use crate::chunks::{load, store};
use crate::error::{Error, expect};
use crate::spread::{rows_of_part, spread};

/// Which activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// x / (1 + e^-x).
    Silu,
    /// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
    Gelu,
}

/// Replaces each number of `x` by f(x) * up.
pub fn gate(kind: Gate, x: &mut [f32], up: &[f32], threads: usize) -> Result<(), Error> {
    expect("up", up.len(), x.len())?;
    let part = rows_of_part(x.len(), 1, threads).next_multiple_of(LANES);
    let parts = x.chunks_mut(part).zip(up.chunks(part));
    let parts = parts.map(|(x, up)| Part { kind, x, up });
    spread(parts.collect(), |part| Tier::of_machine().run(part));
    Ok(())
}

struct Part<'a> {
    kind: Gate,
    x: &'a mut [f32],
    up: &'a [f32],
}

impl Work for Part<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.kind {
            Gate::Silu => each(simd, self.x, self.up, silu),
            Gate::Gelu => each(simd, self.x, self.up, gelu),
        }
    }
}

#[inline(always)]
fn each<S: Simd>(simd: S, x: &mut [f32], up: &[f32], activation: impl Fn(S, S::F) -> S::F) {
    for (x, up) in x.chunks_mut(LANES).zip(up.chunks(LANES)) {
        let active = activation(simd, load(simd, x, 0.0));
        store(simd, simd.mul(active, load(simd, up, 0.0)), x);
    }
}

#[inline(always)]
fn silu<S: Simd>(simd: S, x: S::F) -> S::F {
    let power = exp2_within(simd, simd.mul(x, simd.splat(-std::f32::consts::LOG2_E)));
    simd.div(x, simd.add(power, simd.splat(1.0)))
}

#[inline(always)]
fn gelu<S: Simd>(simd: S, x: S::F) -> S::F {
    const ROOT: f32 = 0.797_884_6; // sqrt(2 / pi)
    let cube = simd.mul(simd.mul(x, x), x);
    let inner = simd.fma(cube, simd.splat(0.044_715), x);
    let half = simd.mul(x, simd.splat(0.5));
    simd.fma(half, tanh(simd, simd.mul(inner, simd.splat(ROOT))), half)
}
