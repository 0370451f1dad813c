//! Regular expressions without look-around: a lazily built automaton that counts the bytes it reads.
//!
//! Each search is linear in the bytes it reads, but many searches may read the same bytes (`a*b|a`): their sum is limited.

use super::step_budget::StepBudget;
use regex_automata::hybrid::{dfa, regex};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::PatternID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use std::sync::{Arc, Mutex};

/// The steps that rebuilding all states of a full cache counts as.
const CLEARING: u64 = 1 << 22;
/// The number of caches kept for later texts.
const KEPT: usize = 16;

/// The automaton of several expressions, tried in their order.
#[derive(Debug, Clone)]
pub struct Linear {
    regex: Arc<regex::Regex>,
    /// Caches of the states built so far, one per thread. Only locked by `try_lock`: nobody waits after `fork`.
    caches: Arc<Mutex<Vec<regex::Cache>>>,
}

/// The result of a search.
pub enum Found {
    /// A match of the expression with this number.
    Match {
        start: usize,
        end: usize,
        pattern: PatternID,
    },
    Nothing,
    /// The limit of steps was reached.
    Limit,
}

impl Linear {
    /// Compiles `parts` into at most `max_bytes` bytes.
    pub fn new(parts: &[String], max_bytes: usize) -> Result<Self, String> {
        let built = regex::Regex::builder()
            .syntax(syntax::Config::new().nest_limit(100))
            .thompson(thompson::Config::new().nfa_size_limit(Some(max_bytes)))
            .dfa(
                dfa::Config::new()
                    .match_kind(MatchKind::LeftmostFirst)
                    .skip_cache_capacity_check(true),
            )
            .build_many(parts);
        let regex = built.map_err(|error| {
            let mut reason: &dyn std::error::Error = &error;
            while let Some(deeper) = reason.source() {
                reason = deeper;
            }
            reason.to_string()
        })?;
        Ok(Self {
            regex: Arc::new(regex),
            caches: Arc::default(),
        })
    }

    /// A cache to search with.
    pub fn cache(&self) -> regex::Cache {
        let kept = self.caches.try_lock().ok().and_then(|mut kept| kept.pop());
        kept.unwrap_or_else(|| self.regex.create_cache())
    }

    /// Keeps a cache for later texts.
    pub fn put_back(&self, cache: regex::Cache) {
        if let Ok(mut kept) = self.caches.try_lock()
            && kept.len() < KEPT
        {
            kept.push(cache);
        }
    }

    /// The first match at `at` or later.
    pub fn find(
        &self,
        cache: &mut regex::Cache,
        text: &str,
        at: usize,
        steps: &mut StepBudget<'_>,
    ) -> Found {
        let (forward, reverse) = (self.regex.forward(), self.regex.reverse());
        let (cache, cache_back) = cache.as_parts_mut();
        let input = Input::new(text).span(at..text.len());
        let before = Work::of(cache);
        let end = forward.try_search_fwd(cache, &input);
        if !steps.take(Work::of(cache).since(&before)) {
            return Found::Limit;
        }
        // A search fails only where it is configured to give up, which it is not.
        let Ok(Some(end)) = end else {
            return Found::Nothing;
        };
        let back = Input::new(text)
            .span(at..end.offset())
            .anchored(Anchored::Yes);
        let before = Work::of(cache_back);
        let start = reverse.try_search_rev(cache_back, &back);
        if !steps.take(Work::of(cache_back).since(&before)) {
            return Found::Limit;
        }
        match start {
            Ok(Some(start)) => Found::Match {
                start: start.offset(),
                end: end.offset(),
                pattern: end.pattern(),
            },
            _ => Found::Nothing,
        }
    }
}

/// The work of an automaton so far.
struct Work {
    bytes: usize,
    clearings: usize,
    memory: usize,
}

impl Work {
    fn of(cache: &dfa::Cache) -> Self {
        Self {
            bytes: cache.search_total_len(),
            clearings: cache.clear_count(),
            memory: cache.memory_usage(),
        }
    }

    /// Bytes read, and bytes of states built, as a measure of the time.
    fn since(&self, before: &Self) -> u64 {
        let clearings = (self.clearings - before.clearings) as u64;
        let (bytes, memory) = if clearings > 0 {
            (self.bytes, self.memory)
        } else {
            let made = self.memory.saturating_sub(before.memory);
            (self.bytes - before.bytes, made)
        };
        1 + bytes as u64 + memory as u64 + clearings * CLEARING
    }
}
