//! Classifies 64 bytes at once, with the widest registers of this machine.
//!
//! All `unsafe` code of the workspace is here (except one line of `memory`), for three reasons only: calling a function compiled
//! for registers whose presence was checked first ([`Tier::of_machine`]), loading or storing a whole array by registers, and
//! prefetching ([`prefetch::prefetch`]). Each use says why it is sound, every tier is compared with the scalar scanners for all
//! patterns, and the fuzz targets do so too.

#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod arm;
pub mod prefetch;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::text::Text;
use super::window::{Ends, Windowed};
use std::sync::OnceLock;

/// The instruction set used to find pre-tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Character by character: the reference, and the fallback on other machines.
    Scalar,
    /// 32 bytes per register.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 64 bytes per register.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 16 bytes per register.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Tier {
    /// The tiers available on this machine, the fastest first.
    #[cfg(target_arch = "x86_64")]
    pub fn available() -> Vec<Self> {
        let mut tiers = Vec::new();
        let bits = is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("lzcnt");
        if bits && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi2") {
            tiers.push(Self::Avx512);
        }
        if bits && is_x86_feature_detected!("avx2") {
            tiers.push(Self::Avx2);
        }
        tiers.push(Self::Scalar);
        tiers
    }

    /// The tiers available on this machine, the fastest first.
    #[cfg(target_arch = "aarch64")]
    pub fn available() -> Vec<Self> {
        // NEON is part of the architecture.
        vec![Self::Neon, Self::Scalar]
    }

    /// The tiers available on this machine, the fastest first.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn available() -> Vec<Self> {
        vec![Self::Scalar]
    }

    /// The fastest tier of this machine.
    #[inline]
    pub fn of_machine() -> Self {
        static TIER: OnceLock<Tier> = OnceLock::new();
        *TIER.get_or_init(|| Self::available()[0])
    }

    /// Finds the ends of pre-tokens of `text` from `start` on; see `window::fill`.
    #[inline]
    pub fn fill<P: Windowed>(self, text: Text<'_>, start: usize, ends: &mut Ends) -> usize {
        match self {
            Self::Scalar => scalar::<P>(text, start, ends),
            // SAFETY: `available` returns this tier only on machines that have the instructions the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::fill_avx2::<P>(text, start, ends) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::fill_avx512::<P>(text, start, ends) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => super::window::fill::<arm::Neon, P>(text, start, ends),
        }
    }
}

fn scalar<P: Windowed>(text: Text<'_>, mut start: usize, ends: &mut Ends) -> usize {
    let mut found = 0;
    while found < ends.len() && start < text.bytes.len() {
        start = P::pre_token_end(text, start);
        ends[found] = start as u32;
        found += 1;
    }
    found
}
