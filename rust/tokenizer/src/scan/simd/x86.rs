//! AVX-512 and AVX2.

use crate::scan::lanes::{Ascii, Common, Lanes, WINDOW, common};
use crate::scan::text::Text;
use crate::scan::window::{Ends, Windowed, fill};
use std::arch::x86_64::*;

/// [`fill`] with AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,bmi2,popcnt,lzcnt")]
pub fn fill_avx512<P: Windowed>(text: Text<'_>, start: usize, ends: &mut Ends) -> usize {
    fill::<Avx512, P>(text, start, ends)
}

/// [`fill`] with AVX2.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
pub fn fill_avx2<P: Windowed>(text: Text<'_>, start: usize, ends: &mut Ends) -> usize {
    fill::<Avx2, P>(text, start, ends)
}

/// 64 bytes in one register.
struct Avx512;

impl Lanes for Avx512 {
    #[inline(always)]
    fn classify(block: &[u8; WINDOW]) -> Ascii {
        // SAFETY: only `fill_avx512` uses this type, and it is compiled for these registers.
        unsafe { classify_avx512(block) }
    }

    #[inline(always)]
    fn common(block: &[u8; WINDOW]) -> Common {
        // SAFETY: as above.
        unsafe { common_avx512(block) }
    }

    #[inline(always)]
    fn places(bits: u64, from: u32, places: &mut [u32; WINDOW]) {
        // SAFETY: as above.
        unsafe { places_avx512(bits, from, places) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn common_avx512(block: &[u8; WINDOW]) -> Common {
    // SAFETY: the reference covers 64 bytes, and the load needs no alignment.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    common(|first, count| {
        let from_first = _mm512_sub_epi8(bytes, _mm512_set1_epi8(first as i8));
        _mm512_cmplt_epu8_mask(from_first, _mm512_set1_epi8(count as i8))
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
fn places_avx512(bits: u64, from: u32, places: &mut [u32; WINDOW]) {
    const ALL: [u8; WINDOW] = {
        let mut all = [0; WINDOW];
        let mut at = 0;
        while at < WINDOW {
            all[at] = at as u8;
            at += 1;
        }
        all
    };
    // SAFETY: the array has 64 bytes, and the load needs no alignment.
    let all = unsafe { _mm512_loadu_si512(ALL.as_ptr().cast()) };
    let found = _mm512_maskz_compress_epi8(bits, all);
    let from = _mm512_set1_epi32(from as i32);
    let quarters = [
        _mm512_castsi512_si128(found),
        _mm512_extracti32x4_epi32::<1>(found),
        _mm512_extracti32x4_epi32::<2>(found),
        _mm512_extracti32x4_epi32::<3>(found),
    ];
    let (places, _) = places.as_chunks_mut::<16>();
    let count = bits.count_ones() as usize;
    for (number, (places, bytes)) in places.iter_mut().zip(quarters).enumerate() {
        if number >= 2 && count <= 16 * number {
            break;
        }
        let wide = _mm512_add_epi32(_mm512_cvtepu8_epi32(bytes), from);
        // SAFETY: the chunk has 16 numbers of 32 bits, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(places.as_mut_ptr().cast(), wide) };
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn classify_avx512(block: &[u8; WINDOW]) -> Ascii {
    // SAFETY: the reference covers 64 bytes, and the load needs no alignment.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    let all = |byte: u8| _mm512_set1_epi8(byte as i8);
    let within = |bytes, first: u8, count: u8| {
        _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, all(first)), all(count))
    };
    let is = |byte| _mm512_cmpeq_epi8_mask(bytes, all(byte));
    let space = is(b' ');
    Ascii {
        letter: within(_mm512_or_si512(bytes, all(0x20)), b'a', 26),
        capital: within(bytes, b'A', 26),
        digit: within(bytes, b'0', 10),
        white: space | within(bytes, b'\t', 5),
        space,
        newline: is(b'\n') | is(b'\r'),
        quote: is(b'\''),
        slash: is(b'/'),
        high: _mm512_movepi8_mask(bytes),
        continuation: within(bytes, 0x80, 0x40),
    }
}

/// 64 bytes in two registers.
struct Avx2;

impl Lanes for Avx2 {
    #[inline(always)]
    fn classify(block: &[u8; WINDOW]) -> Ascii {
        // SAFETY: only `fill_avx2` uses this type, and it is compiled for these registers.
        unsafe { classify_avx2(block) }
    }

    #[inline(always)]
    fn common(block: &[u8; WINDOW]) -> Common {
        // SAFETY: as above.
        unsafe { common_avx2(block) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn classify_avx2(block: &[u8; WINDOW]) -> Ascii {
    // SAFETY: the reference covers 64 bytes, two times 32, and the loads need no alignment.
    let halves = unsafe {
        [
            _mm256_loadu_si256(block.as_ptr().cast()),
            _mm256_loadu_si256(block.as_ptr().add(32).cast()),
        ]
    };
    let all = |byte: u8| _mm256_set1_epi8(byte as i8);
    let mask = |test: &dyn Fn(__m256i) -> __m256i| {
        let [low, high] = halves.map(|half| _mm256_movemask_epi8(test(half)) as u32);
        u64::from(low) | u64::from(high) << 32
    };
    // `first <= byte < first + count` as one unsigned comparison: the difference is its own minimum with `count - 1`.
    let within = |bytes, first: u8, count: u8| {
        let difference = _mm256_sub_epi8(bytes, all(first));
        _mm256_cmpeq_epi8(_mm256_min_epu8(difference, all(count - 1)), difference)
    };
    let is = |byte| mask(&|half| _mm256_cmpeq_epi8(half, all(byte)));
    let space = is(b' ');
    Ascii {
        letter: mask(&|half| within(_mm256_or_si256(half, all(0x20)), b'a', 26)),
        capital: mask(&|half| within(half, b'A', 26)),
        digit: mask(&|half| within(half, b'0', 10)),
        white: space | mask(&|half| within(half, b'\t', 5)),
        space,
        newline: is(b'\n') | is(b'\r'),
        quote: is(b'\''),
        slash: is(b'/'),
        high: mask(&|half| half),
        continuation: mask(&|half| within(half, 0x80, 0x40)),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn common_avx2(block: &[u8; WINDOW]) -> Common {
    // SAFETY: as in `classify_avx2`.
    let halves = unsafe {
        [
            _mm256_loadu_si256(block.as_ptr().cast()),
            _mm256_loadu_si256(block.as_ptr().add(32).cast()),
        ]
    };
    common(|first, count| {
        let [low, high] = halves.map(|half| {
            let from_first = _mm256_sub_epi8(half, _mm256_set1_epi8(first as i8));
            let min = _mm256_min_epu8(from_first, _mm256_set1_epi8((count - 1) as i8));
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(min, from_first)) as u32
        });
        u64::from(low) | u64::from(high) << 32
    })
}
