//! A row as groups of 16 numbers, the last of them filled up.

use stategpt_simd::{LANES, Simd};

/// The first numbers of a slice, at most 16; what is missing is `fill`.
#[inline(always)]
pub fn load<S: Simd>(simd: S, from: &[f32], fill: f32) -> S::F {
    if let Some(whole) = from.first_chunk() {
        return simd.load(whole);
    }
    let mut padded = [fill; LANES];
    padded[..from.len()].copy_from_slice(from);
    simd.load(&padded)
}

/// Writes as many of the 16 numbers as the slice holds.
#[inline(always)]
pub fn store<S: Simd>(simd: S, x: S::F, to: &mut [f32]) {
    if let Some(whole) = to.first_chunk_mut() {
        return simd.store(x, whole);
    }
    let mut padded = [0.0; LANES];
    simd.store(x, &mut padded);
    let count = to.len();
    to.copy_from_slice(&padded[..count]);
}

/// The sum of the lanes: the upper half is added to the lower one until one is left.
#[inline(always)]
pub fn sum<S: Simd>(simd: S, x: S::F) -> f32 {
    let mut lanes = [0.0; LANES];
    simd.store(x, &mut lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
