//! NEON, which every 64-bit ARM has.

use crate::scan::lanes::{Ascii, Common, Lanes, WINDOW, common};
use std::arch::aarch64::*;

/// 64 bytes in four registers.
pub struct Neon;

impl Lanes for Neon {
    #[inline(always)]
    fn classify(block: &[u8; WINDOW]) -> Ascii {
        // SAFETY: NEON is part of the architecture.
        unsafe { classify_neon(block) }
    }

    #[inline(always)]
    fn common(block: &[u8; WINDOW]) -> Common {
        // SAFETY: as above.
        unsafe { common_neon(block) }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn classify_neon(block: &[u8; WINDOW]) -> Ascii {
    // SAFETY: the reference covers 64 bytes, four times 16, and the loads need no alignment.
    let quarters = unsafe { [0, 16, 32, 48].map(|offset| vld1q_u8(block.as_ptr().add(offset))) };
    let test = |test: &dyn Fn(uint8x16_t) -> uint8x16_t| mask(quarters.map(test));
    let within = |bytes, first: u8, count: u8| {
        vcltq_u8(vsubq_u8(bytes, vdupq_n_u8(first)), vdupq_n_u8(count))
    };
    let is = |byte: u8| test(&|bytes| vceqq_u8(bytes, vdupq_n_u8(byte)));
    let space = is(b' ');
    Ascii {
        letter: test(&|bytes| within(vorrq_u8(bytes, vdupq_n_u8(0x20)), b'a', 26)),
        capital: test(&|bytes| within(bytes, b'A', 26)),
        digit: test(&|bytes| within(bytes, b'0', 10)),
        white: space | test(&|bytes| within(bytes, b'\t', 5)),
        space,
        newline: is(b'\n') | is(b'\r'),
        quote: is(b'\''),
        slash: is(b'/'),
        high: test(&|bytes| vcgeq_u8(bytes, vdupq_n_u8(0x80))),
        continuation: test(&|bytes| within(bytes, 0x80, 0x40)),
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn common_neon(block: &[u8; WINDOW]) -> Common {
    // SAFETY: as in `classify_neon`.
    let quarters = unsafe { [0, 16, 32, 48].map(|offset| vld1q_u8(block.as_ptr().add(offset))) };
    common(|first, count| {
        mask(quarters.map(|bytes| vcltq_u8(vsubq_u8(bytes, vdupq_n_u8(first)), vdupq_n_u8(count))))
    })
}

/// One bit per byte: each byte of 255 keeps the bit of its position among eight, and neighbors are added until eight bytes are
/// one.
#[inline]
#[target_feature(enable = "neon")]
fn mask(bytes: [uint8x16_t; 4]) -> u64 {
    let places = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
    let [a, b, c, d] = bytes.map(|bytes| vandq_u8(bytes, places));
    let sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)))
}
