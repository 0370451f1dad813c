//! One dot product, compiled for several widths of registers from one definition.
//!
//! The only `unsafe` code of this crate: calls of functions compiled for registers whose presence was checked first.

#![allow(unsafe_code)]

use std::sync::OnceLock;

/// Numbers that are added at a time: four of the widest registers.
const LANES: usize = 64;

/// The instruction set that a product is computed with. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// What every machine of the architecture has.
    Portable,
    /// 8 numbers per register.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 16 numbers per register.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Tier {
    /// The tiers of this machine, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut tiers = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                tiers.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") {
                tiers.push(Self::Avx2);
            }
        }
        tiers.push(Self::Portable);
        tiers
    }

    /// The fastest tier of this machine.
    pub fn of_machine() -> Self {
        static TIER: OnceLock<Tier> = OnceLock::new();
        *TIER.get_or_init(|| Self::available()[0])
    }

    /// The sum of `codes[i] * x[i]`.
    #[inline]
    pub fn dot(self, codes: &[i8], x: &[f32]) -> f32 {
        match self {
            Self::Portable => dot(codes, x),
            // SAFETY: `available` returns this tier only on machines that have what the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { dot_avx2(codes, x) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { dot_avx512(codes, x) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(codes: &[i8], x: &[f32]) -> f32 {
    dot(codes, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn dot_avx512(codes: &[i8], x: &[f32]) -> f32 {
    dot(codes, x)
}

/// Lane i adds the products i, i + 64, ...; then lanes are added in halves.
#[inline(always)]
fn dot(codes: &[i8], x: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (codes, codes_left) = codes.as_chunks::<LANES>();
    let (x, x_left) = x.as_chunks::<LANES>();
    for (codes, x) in codes.iter().zip(x) {
        for i in 0..LANES {
            lanes[i] += f32::from(codes[i]) * x[i];
        }
    }
    for ((lane, code), x) in lanes.iter_mut().zip(codes_left).zip(x_left) {
        *lane += f32::from(*code) * x;
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}
