//! Streams of segments, forks and blank tokens, and who sees whom in them by the definition.

use proptest::prelude::*;
use stategpt_layout::{AttentionLayout, Runs};

/// The vectors of a layout, one row long.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub segment_start: Vec<i32>,
    pub prefix_end: Vec<i32>,
    pub branch_start: Vec<i32>,
    pub position: Vec<i32>,
}

impl Stream {
    pub fn len(&self) -> i32 {
        self.position.len() as i32
    }

    pub fn push(&mut self, segment: i32, prefix: i32, branch: i32, tokens: i32) {
        for token in self.len()..self.len() + tokens {
            self.segment_start.push(segment);
            self.prefix_end.push(prefix);
            self.branch_start.push(branch);
            self.position.push(prefix - segment + token - branch);
        }
    }

    /// A trunk and branches behind its first `shared` tokens.
    pub fn push_segment(&mut self, trunk: i32, branches: &[(i32, i32)]) {
        let segment = self.len();
        self.push(segment, segment, segment, trunk);
        for (shared, tokens) in branches {
            let start = self.len();
            self.push(segment, segment + (*shared).min(trunk), start, *tokens);
        }
    }

    pub fn push_blanks(&mut self, tokens: i32) {
        for _ in 0..tokens {
            let token = self.len();
            self.segment_start.push(token);
            self.prefix_end.push(token);
            self.branch_start.push(token + 1);
            self.position.push(0);
        }
    }

    pub fn layout(&self) -> AttentionLayout<'_> {
        AttentionLayout {
            segment_start: &self.segment_start,
            prefix_end: &self.prefix_end,
            branch_start: &self.branch_start,
            position: &self.position,
            row_tokens: i64::from(self.len()).max(1),
        }
    }

    pub fn runs(&self) -> Runs {
        Runs::of(&self.layout()).unwrap()
    }

    /// The definition.
    pub fn sees(&self, query: i32, key: i32, window: i64) -> bool {
        let (t, n) = (query as usize, self.len());
        let inside = (0..n).contains(&query) && (0..n).contains(&key);
        inside
            && (self.segment_start[t]..self.prefix_end[t])
                .chain(self.branch_start[t]..query + 1)
                .any(|seen| seen == key)
            && i64::from(self.position[t] - self.position[key as usize]) < window
    }
}

/// `sees` of every pair, computed once.
pub struct Matrix {
    pub tokens: i32,
    seen: Vec<bool>,
}

impl Matrix {
    pub fn of(stream: &Stream, window: Option<i64>) -> Self {
        let (n, window) = (stream.len(), window.unwrap_or(i64::MAX));
        let pairs = (0..n).flat_map(|query| (0..n).map(move |key| (query, key)));
        let seen = pairs.map(|(query, key)| stream.sees(query, key, window));
        Self {
            tokens: n,
            seen: seen.collect(),
        }
    }

    pub fn sees(&self, query: i32, key: i32) -> bool {
        key < self.tokens && query < self.tokens && self.seen[(query * self.tokens + key) as usize]
    }

    pub fn end(&self, lo: i32, block: i32) -> i32 {
        self.tokens.min(lo + block)
    }
}

pub fn segment() -> impl Strategy<Value = (i32, Vec<(i32, i32)>)> {
    let branch = (0_i32..30, 1_i32..30);
    // Prefixes shorter than the trunk fork inside it; those that would be longer are cut to it.
    let branches = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(branch.clone(), 1..5),
        1 => prop::collection::vec((Just(99), 1_i32..30), 1..5),
    ];
    (1_i32..40, branches)
}

pub fn stream() -> impl Strategy<Value = Stream> {
    let piece = prop_oneof![
        4 => segment().prop_map(Some),
        1 => Just(None),
    ];
    prop::collection::vec((piece, 1_i32..4), 0..8).prop_map(|pieces| {
        let mut stream = Stream::default();
        for (piece, blanks) in pieces {
            match piece {
                Some((trunk, branches)) => stream.push_segment(trunk, &branches),
                None => stream.push_blanks(blanks),
            }
        }
        stream
    })
}
