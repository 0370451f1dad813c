//! AVX2 with fused multiply-adds, and AVX-512.

use std::arch::x86_64::*;

use crate::lanes::{LANES, Simd, Work};

/// Proves that this machine has AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

/// Proves that this machine has AVX-512F, AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx2 {
    /// The proof, where it can be given.
    pub fn found() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl Avx512 {
    /// The proof, where it can be given.
    pub fn found() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && Avx2::found().is_some()).then_some(Self(()))
    }
}

/// Does work with AVX2.
#[target_feature(enable = "avx2,fma")]
pub fn run_avx2<W: Work>(token: Avx2, work: W) {
    work.run(token);
}

/// Does work with AVX-512.
#[target_feature(enable = "avx512f,avx2,fma")]
pub fn run_avx512<W: Work>(token: Avx512, work: W) {
    work.run(token);
}

/// The lower and the upper eight lanes.
type Two = (__m256, __m256);

// In both implementations, SAFETY: `self` exists only where the instructions do, and a reference to an array covers all
// that a load reads or a store writes; neither needs alignment.

impl Simd for Avx2 {
    type F = Two;

    #[inline(always)]
    fn splat(self, x: f32) -> Two {
        // SAFETY: see above.
        let x = unsafe { _mm256_set1_ps(x) };
        (x, x)
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Two {
        let from = x.as_ptr();
        // SAFETY: see above.
        unsafe { (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    fn widen(self, x: &[u16; LANES]) -> Two {
        let from = x.as_ptr().cast::<__m128i>();
        // SAFETY: see above.
        unsafe {
            let (low, high) = (_mm_loadu_si128(from), _mm_loadu_si128(from.add(1)));
            let low = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(low));
            let high = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(high));
            (_mm256_castsi256_ps(low), _mm256_castsi256_ps(high))
        }
    }

    #[inline(always)]
    fn store(self, x: Two, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        // SAFETY: see above.
        unsafe {
            _mm256_storeu_ps(to, x.0);
            _mm256_storeu_ps(to.add(8), x.1);
        }
    }

    #[inline(always)]
    fn add(self, a: Two, b: Two) -> Two {
        // SAFETY: see above.
        unsafe { (_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: Two, b: Two) -> Two {
        // SAFETY: see above.
        unsafe { (_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Two, b: Two) -> Two {
        // SAFETY: see above.
        unsafe { (_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn div(self, a: Two, b: Two) -> Two {
        // SAFETY: see above.
        unsafe { (_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn fma(self, a: Two, b: Two, c: Two) -> Two {
        // SAFETY: see above.
        unsafe {
            let low = _mm256_fmadd_ps(a.0, b.0, c.0);
            (low, _mm256_fmadd_ps(a.1, b.1, c.1))
        }
    }

    #[inline(always)]
    fn larger(self, a: Two, b: Two) -> Two {
        // SAFETY: see above.
        unsafe { (_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn smaller(self, a: Two, b: Two) -> Two {
        // SAFETY: see above.
        unsafe { (_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn zero_below(self, x: Two, limit: Two, value: Two) -> Two {
        // SAFETY: see above.
        unsafe {
            let low = _mm256_cmp_ps::<_CMP_LT_OQ>(x.0, limit.0);
            let high = _mm256_cmp_ps::<_CMP_LT_OQ>(x.1, limit.1);
            (
                _mm256_andnot_ps(low, value.0),
                _mm256_andnot_ps(high, value.1),
            )
        }
    }

    #[inline(always)]
    fn power(self, rounded: Two) -> Two {
        // SAFETY: see above.
        unsafe { (power(rounded.0), power(rounded.1)) }
    }

    #[inline(always)]
    fn max_lane(self, x: Two) -> f32 {
        // SAFETY: see above.
        unsafe { max_of_eight(_mm256_max_ps(x.0, x.1)) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn power(rounded: __m256) -> __m256 {
    let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(rounded));
    let one = _mm256_castps_si256(_mm256_set1_ps(1.0));
    _mm256_castsi256_ps(_mm256_add_epi32(exponent, one))
}

#[inline]
#[target_feature(enable = "avx2")]
fn max_of_eight(x: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}

impl Simd for Avx512 {
    type F = __m512;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn widen(self, x: &[u16; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    fn store(self, x: __m512, to: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn larger(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn smaller(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn zero_below(self, x: __m512, limit: __m512, value: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, limit);
            _mm512_maskz_mov_ps(!below, value)
        }
    }

    #[inline(always)]
    fn power(self, rounded: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(rounded));
            let one = _mm512_castps_si512(_mm512_set1_ps(1.0));
            _mm512_castsi512_ps(_mm512_add_epi32(exponent, one))
        }
    }

    #[inline(always)]
    fn max_lane(self, x: __m512) -> f32 {
        // SAFETY: see above.
        unsafe {
            let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x));
            let eight = _mm256_max_ps(_mm512_castps512_ps256(x), _mm256_castpd_ps(upper));
            max_of_eight(eight)
        }
    }
}
