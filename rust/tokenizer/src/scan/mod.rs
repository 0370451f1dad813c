//! Hand-written scanners: where the next pre-token of a text ends, without a regular-expression engine.
//!
//! Each scanner works on bytes. A byte that begins no well-formed UTF-8 character counts as a character of class
//! [`OTHER`](crate::classes::OTHER), so that any bytes are cut into pre-tokens and none are lost.
//! Every scanner looks at each byte a bounded number of times: a text of n bytes costs O(n), whatever it holds.
//!
//! Each exists twice: character by character ([`text::Scanner`], the reference), and over windows of 64 bytes ([`window::Windowed`]).

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

/// Calls `pre_token(start, end)` for each pre-token of `text`, in order; the pre-tokens tile the text.
///
/// Places are 32-bit numbers: texts of 4 GiB and more are not for this function.
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
    /// Before the first pre-token.
    #[inline]
    pub fn of(pattern: Pattern, text: &'t [u8]) -> Self {
        Self::of_tier(pattern, text, Tier::of_machine())
    }

    /// As [`PreTokens::of`], found in a way of one's choice.
    #[inline]
    pub fn of_tier(pattern: Pattern, text: &'t [u8], tier: Tier) -> Self {
        Self {
            text: Text::new(text),
            pattern,
            tier,
            at: 0,
        }
    }

    /// Writes where the next pre-tokens end, and returns how many there are; `None` at the end of the text.
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

/// Finds out what registers there are.
pub fn make_tables() {
    Tier::of_machine();
}

#[cfg(test)]
mod tests;
