//! Operations on 16 numbers by the registers of this machine. Every tier gives the same bits.
//!
//! The only `unsafe` code of this crate, for two reasons: instructions of registers whose presence a token proves
//! ([`Tier::available`] alone makes tokens), and loads and stores of whole arrays.

#![allow(unsafe_code)]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use crate::lanes::Work;
use portable::Portable;

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
