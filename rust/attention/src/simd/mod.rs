//! 16 float32 numbers at a time, with the registers of this machine. Every tier gives the same bits.
//!
//! The only `unsafe` code of this crate, for two reasons: instructions of registers whose presence a token proves
//! ([`Tier::available`] alone makes tokens), and loads and stores of whole arrays.

#![allow(unsafe_code)]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub use portable::Portable;

/// Numbers of a register, and keys of a page.
pub const LANES: usize = 16;

/// Adding it to a number of magnitude below 2^22 rounds that to an integer, which stands in the lowest bits of the sum.
pub const ROUNDING: f32 = 12_582_912.0; // 1.5 * 2^23

/// Operations on 16 numbers. A value of a type that implements it proves that this machine has the instructions.
pub trait Simd: Copy {
    /// 16 numbers.
    type F: Copy;
    /// One number in all lanes.
    fn splat(self, x: f32) -> Self::F;
    /// The numbers of an array.
    fn load(self, x: &[f32; LANES]) -> Self::F;
    /// bfloat16 numbers, by their bits.
    fn widen(self, x: &[u16; LANES]) -> Self::F;
    /// Writes the numbers into an array.
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    /// a + b
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// a - b
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// a / b
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a where a > b, else b: b where one is NaN.
    fn larger(self, a: Self::F, b: Self::F) -> Self::F;
    /// a where a < b, else b: b where one is NaN.
    fn smaller(self, a: Self::F, b: Self::F) -> Self::F;
    /// 0 where x < limit, else value.
    fn zero_below(self, x: Self::F, limit: Self::F, value: Self::F) -> Self::F;
    /// 2^n, for n + [`ROUNDING`] with an integer n from -126 to 127.
    fn power(self, rounded: Self::F) -> Self::F;
    /// The largest lane. One that is NaN may count or not.
    fn max_lane(self, x: Self::F) -> f32;
}

/// Work that is compiled for an instruction set. `run` must be inlined, and all that it calls with a `Simd`.
pub trait Work {
    /// Does the work.
    fn run<S: Simd>(self, simd: S);
}

/// An instruction set of this machine.
#[derive(Debug, Clone, Copy)]
pub enum Tier {
    /// What every machine of the architecture has. Without fused multiply-adds (x86-64 before 2013) it is slow.
    Portable,
    /// 8 numbers a register.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    /// 16 numbers a register.
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

impl Tier {
    /// The tiers of this machine, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut tiers = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            tiers.extend(x86::Avx512::found().map(Self::Avx512));
            tiers.extend(x86::Avx2::found().map(Self::Avx2));
        }
        tiers.push(Self::Portable);
        tiers
    }

    /// The fastest tier of this machine.
    pub fn of_machine() -> Self {
        static TIER: OnceLock<Tier> = OnceLock::new();
        *TIER.get_or_init(|| Self::available()[0])
    }

    /// Does the work, compiled for this tier.
    pub fn run<W: Work>(self, work: W) {
        match self {
            Self::Portable => work.run(Portable),
            // SAFETY: the token was made on finding the instructions that the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(token) => unsafe { x86::run_avx2(token, work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(token) => unsafe { x86::run_avx512(token, work) },
        }
    }
}
