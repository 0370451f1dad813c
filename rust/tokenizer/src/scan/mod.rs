//! Hand-written scanners: find the end of the next pre-token without a regular-expression engine.
//!
//! Scanners work on bytes. A byte that does not begin a well-formed UTF-8 character counts as a character of class
//! [`OTHER`](crate::classes::OTHER), so that any bytes can be split and none are lost. Every scanner reads each byte a bounded
//! number of times: a text of n bytes takes O(n), whatever it contains.
//!
//! Each scanner exists twice: character by character ([`text::Scanner`], the reference), and for windows of 64 bytes
//! ([`window::Windowed`]).

mod gpt2;
mod gpt4;
mod lanes;
mod o200k;
mod simd;
mod text;
mod window;

use crate::pattern::Pattern;

use gpt2::Gpt2;
use gpt4::Gpt4;
use o200k::O200k;
pub use simd::Tier;
pub use simd::prefetch::prefetch;
use text::Text;
pub use window::{ENDS, Ends};

/// Calls `pre_token(start, end)` for each pre-token of `text`, in order; the pre-tokens cover the text without gaps.
///
/// Positions are 32-bit numbers: the text must be shorter than 4 GiB.
#[inline]
pub fn for_each_pre_token(pattern: Pattern, text: &[u8], mut pre_token: impl FnMut(usize, usize)) {
    let mut pre_tokens = PreTokens::of(pattern, text);
    let mut ends = [0; ENDS];
    let mut start = 0;
    while let Some(found) = pre_tokens.fill(&mut ends) {
        for &end in &ends[..found] {
            pre_token(start, end as usize);
            start = end as usize;
        }
    }
}

/// The pre-tokens of a text, some hundred at a time.
pub struct PreTokens<'t> {
    text: Text<'t>,
    pattern: Pattern,
    tier: Tier,
    at: usize,
}

impl<'t> PreTokens<'t> {
    /// Starts before the first pre-token.
    #[inline]
    pub fn of(pattern: Pattern, text: &'t [u8]) -> Self {
        Self::of_tier(pattern, text, Tier::of_machine())
    }

    /// As [`PreTokens::of`], with a given tier.
    #[inline]
    pub fn of_tier(pattern: Pattern, text: &'t [u8], tier: Tier) -> Self {
        Self {
            text: Text::new(text),
            pattern,
            tier,
            at: 0,
        }
    }

    /// Writes the ends of the next pre-tokens, and returns their number; `None` at the end of the text.
    #[inline]
    pub fn fill(&mut self, ends: &mut Ends) -> Option<usize> {
        let (tier, text, at) = (self.tier, self.text, self.at);
        let found = match self.pattern {
            Pattern::Gpt2 => tier.fill::<Gpt2>(text, at, ends),
            Pattern::Gpt4 => tier.fill::<Gpt4<3>>(text, at, ends),
            Pattern::Qwen => tier.fill::<Gpt4<1>>(text, at, ends),
            Pattern::O200k => tier.fill::<O200k>(text, at, ends),
        };
        self.at = *ends[..found].last()? as usize;
        Some(found)
    }
}

/// Detects the available registers.
pub fn make_tables() {
    Tier::of_machine();
}

#[cfg(test)]
mod tests;
