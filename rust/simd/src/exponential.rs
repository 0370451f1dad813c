//! 2^x and the hyperbolic tangent, of 16 numbers.
//!
//! Both are the same few operations in every lane, so that a number's result depends on nothing else.

use crate::lanes::{ROUNDING, Simd};

/// Below it, 2^x is 0: beside a largest weight of 1 the rest is less than float32 can add.
pub const LEAST_EXPONENT: f32 = -100.0;

/// (2^x - 1) / x = P(x) for |x| <= 1/2, of degree 5: the relative error of 1 + x P(x) is at most 1.6e-8 before rounding.
const P: [f32; 6] = [
    std::f32::consts::LN_2,
    0.240_226_48,
    0.055_503_324,
    0.009_618_437,
    0.001_339_887_4,
    0.000_153_533_62,
];

/// 2^x for x <= 0, relative error at most 2^-23; 1 for 0, 0 below [`LEAST_EXPONENT`], NaN for NaN.
#[inline(always)]
pub fn exp2<S: Simd>(simd: S, x: S::F) -> S::F {
    let least = simd.splat(LEAST_EXPONENT);
    let (power, f, p) = parts(simd, simd.larger(least, x));
    let value = simd.mul(power, simd.fma(f, p, simd.splat(1.0)));
    simd.zero_below(x, least, value)
}

/// 2^x, of x within -126 and 126 (what is beyond counts as the nearer end); relative error at most 2^-23, NaN for NaN.
#[inline(always)]
pub fn exp2_within<S: Simd>(simd: S, x: S::F) -> S::F {
    let x = simd.larger(simd.splat(-126.0), simd.smaller(simd.splat(126.0), x));
    let (power, f, p) = parts(simd, x);
    simd.mul(power, simd.fma(f, p, simd.splat(1.0)))
}

/// 2^n, f and P(f) for x = n + f with |x| <= 126.
#[inline(always)]
fn parts<S: Simd>(simd: S, x: S::F) -> (S::F, S::F, S::F) {
    let rounding = simd.splat(ROUNDING);
    let rounded = simd.add(x, rounding);
    let f = simd.sub(x, simd.sub(rounded, rounding));
    let mut p = simd.splat(P[5]);
    p = simd.fma(p, f, simd.splat(P[4]));
    p = simd.fma(p, f, simd.splat(P[3]));
    p = simd.fma(p, f, simd.splat(P[2]));
    p = simd.fma(p, f, simd.splat(P[1]));
    p = simd.fma(p, f, simd.splat(P[0]));
    (simd.power(rounded), f, p)
}

/// tanh x, relative error at most 2^-21; NaN for NaN.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::F) -> S::F {
    // Beyond 10 it is 1 in float32. 2^(x * 2 / ln 2) - 1 = e^2x - 1 = t, and tanh x = t / (t + 2).
    let x = simd.larger(simd.splat(-10.0), simd.smaller(simd.splat(10.0), x));
    let twice = simd.mul(x, simd.splat(2.0 * std::f32::consts::LOG2_E));
    let (power, f, p) = parts(simd, twice);
    let one = simd.splat(1.0);
    let t = simd.fma(power, simd.mul(f, p), simd.sub(power, one));
    simd.div(t, simd.add(t, simd.splat(2.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{LANES, Work};
    use crate::tier::Tier;

    /// Both functions of the same number in every lane.
    struct Both<'a>(f32, &'a mut [[f32; LANES]; 2]);

    impl Work for Both<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let x = simd.splat(self.0);
            simd.store(exp2(simd, x), &mut self.1[0]);
            simd.store(tanh(simd, x), &mut self.1[1]);
        }
    }

    fn both(x: f32) -> (f64, f64) {
        let mut found = [[0.0; LANES]; 2];
        Tier::of_machine().run(Both(x, &mut found));
        (found[0][0].into(), found[1][LANES - 1].into())
    }

    #[test]
    fn powers_of_two_are_within_their_bound() {
        let mut worst = 0.0_f64;
        for step in 0..2_000_000 {
            let x = -(step as f32) / 20_000.0;
            let expected = f64::from(x).exp2();
            worst = worst.max((both(x).0 / expected - 1.0).abs());
        }
        assert!(worst <= f64::from(f32::EPSILON), "{worst:e}");
        assert!(
            worst > 1e-8,
            "the test computes with too many digits: {worst:e}"
        );
    }

    #[test]
    fn the_ends_are_exact() {
        assert_eq!(both(0.0).0, 1.0);
        assert_eq!(both(-0.0).0, 1.0);
        assert_eq!(both(-100.0).0, 2.0_f64.powi(-100));
        for x in [-100.00001, -1000.0, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(both(x).0, 0.0, "{x}");
        }
        let (power, tangent) = both(f32::NAN);
        assert!(power.is_nan() && tangent.is_nan());
        assert_eq!(both(f32::INFINITY).1, 1.0);
        assert_eq!(both(f32::NEG_INFINITY).1, -1.0);
        assert_eq!(both(0.0).1, 0.0);
    }

    #[test]
    fn hyperbolic_tangents_are_within_their_bound() {
        let mut worst = 0.0_f64;
        for step in 1..=600_000 {
            let x = (step as f32 / 50_000.0).powi(2) / 10.0;
            for x in [x, -x, x * 1e-6] {
                let expected = f64::from(x).tanh();
                worst = worst.max((both(x).1 / expected - 1.0).abs());
            }
        }
        assert!(worst <= 4.0 * f64::from(f32::EPSILON), "{worst:e}");
    }
}
