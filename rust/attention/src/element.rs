//! Number formats of pages, queries and outputs: float32, and bfloat16 by its bits.

use stategpt_simd::{LANES, Simd};

/// A number of a page, a query or an output.
pub trait Element: Copy + Default + Send + Sync {
    /// Exact.
    fn to_f32(self) -> f32;
    /// Rounded to the nearest, ties to even.
    fn from_f32(x: f32) -> Self;
    /// 16 of them as float32.
    fn lanes<S: Simd>(simd: S, x: &[Self; LANES]) -> S::F;
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }

    #[inline(always)]
    fn lanes<S: Simd>(simd: S, x: &[Self; LANES]) -> S::F {
        simd.load(x)
    }
}

/// The bits of a bfloat16 number.
pub type Bf16 = u16;

impl Element for Bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        if x.is_nan() {
            return 0x7fc0;
        }
        // Half a unit of the last kept bit, or just less where that bit is 0 already.
        ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
    }

    #[inline(always)]
    fn lanes<S: Simd>(simd: S, x: &[Self; LANES]) -> S::F {
        simd.widen(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_rounds_to_the_nearest() {
        let rounded = |bits: u32| Bf16::from_f32(f32::from_bits(bits));
        assert_eq!(rounded(0x3f80_8000), 0x3f80, "a tie, to even");
        assert_eq!(rounded(0x3f81_8000), 0x3f82, "a tie, to even");
        assert_eq!(rounded(0x3f80_8001), 0x3f81);
        assert_eq!(rounded(0xbf80_7fff), 0xbf80);
        assert_eq!(rounded(0x7f7f_ffff), 0x7f80, "too large for a finite one");
        assert_eq!(rounded(0xff80_0000), 0xff80);
        assert!(Bf16::from_f32(f32::NAN).to_f32().is_nan());
        assert!(
            rounded(0x7f80_0001) & 0x7f != 0,
            "NaN whose last bits are cut"
        );
        for bits in 0..=u16::MAX {
            assert!(Bf16::from_f32(bits.to_f32()) == bits || bits.to_f32().is_nan());
        }
    }
}
