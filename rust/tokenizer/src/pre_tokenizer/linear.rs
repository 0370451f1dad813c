//! Regular expressions without look-around: an automaton, made as it is needed, that tells how many bytes it looked at.
//!
//! Each search is linear in what it looks at, but many searches may look at the same bytes (`a*b|a`): their sum is limited.

use super::step_budget::StepBudget;
use regex_automata::hybrid::{dfa, regex};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::PatternID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use std::sync::{Arc, Mutex};

/// What making all states of a full memory anew takes, in steps.
const CLEARING: u64 = 1 << 22;
/// Memories that are kept for the next text.
const KEPT: usize = 16;

/// The automaton of some expressions, tried in their order.
#[derive(Debug, Clone)]
pub struct Linear {
    regex: Arc<regex::Regex>,
    /// States made so far, one memory for each thread. Only ever taken by `try_lock`: nobody waits after `fork`.
    memories: Arc<Mutex<Vec<regex::Cache>>>,
}

/// Where a search ended.
pub enum Found {
    /// At a match, by the expression of this number.
    Match {
        start: usize,
        end: usize,
        pattern: PatternID,
    },
    Nothing,
    /// At the limit of steps.
    Limit,
}

impl Linear {
    /// Compiles `parts`, within `max_bytes` bytes.
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
            memories: Arc::default(),
        })
    }

    /// A memory to search with.
    pub fn memory(&self) -> regex::Cache {
        let kept = self
            .memories
            .try_lock()
            .ok()
            .and_then(|mut kept| kept.pop());
        kept.unwrap_or_else(|| self.regex.create_cache())
    }

    /// Keeps a memory for the next text.
    pub fn give_back(&self, memory: regex::Cache) {
        if let Ok(mut kept) = self.memories.try_lock()
            && kept.len() < KEPT
        {
            kept.push(memory);
        }
    }

    /// The first match at `at` or later.
    pub fn find(
        &self,
        memory: &mut regex::Cache,
        text: &str,
        at: usize,
        steps: &mut StepBudget<'_>,
    ) -> Found {
        let (forward, reverse) = (self.regex.forward(), self.regex.reverse());
        let (cache, cache_back) = memory.as_parts_mut();
        let input = Input::new(text).span(at..text.len());
        let before = Work::of(cache);
        let end = forward.try_search_fwd(cache, &input);
        if !steps.take(Work::of(cache).since(&before)) {
            return Found::Limit;
        }
        // It fails only where it is told to give up, and it is not.
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

/// What an automaton has done so far.
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

    /// Bytes looked at, and what states were made, which take work as they take memory.
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
