//! The queries of a group for one key-value head, and what is known of their results so far.

use stategpt_simd::LANES;

use crate::element::Element;
use crate::plan::{Group, Piece};

/// Numbers of a register.
pub type Chunk = [f32; LANES];

/// Queries, one behind the other: of each token the heads that share the key-value head.
#[derive(Debug, Default)]
pub struct Queries {
    /// Numbers of a query.
    pub width: usize,
    /// Chunks of an output, the last filled up with zeros.
    pub chunks: usize,
    /// Query times scale.
    pub q: Vec<f32>,
    /// Weighted sum of the values so far.
    pub o: Vec<Chunk>,
    /// Largest score so far.
    pub top: Vec<f32>,
    /// Sums of weights so far: lane i has those of keys i, i + 16, ...
    pub sums: Vec<Chunk>,
    /// First position seen.
    pub first: Vec<usize>,
    /// Last position seen: its own.
    pub last: Vec<usize>,
}

/// The query heads that share a key-value head, and what all their queries have in common.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Query heads of a token.
    pub all: usize,
    /// First of those that share the key-value head.
    pub first: usize,
    /// Number of those.
    pub count: usize,
    /// Numbers of a query.
    pub width: usize,
    /// Factor of a query.
    pub scale: f32,
    /// Keys that a query sees at most.
    pub window: usize,
}

impl Queries {
    /// Takes the queries of a group; nothing of their results is known.
    pub fn begin<Q: Element>(&mut self, pieces: &[Piece], group: &Group, q: &[Q], heads: Heads) {
        let Heads { width, scale, .. } = heads;
        let count = group.tokens * heads.count;
        self.width = width;
        self.chunks = width.div_ceil(LANES);
        self.o.clear();
        self.o.resize(count * self.chunks, [0.0; LANES]);
        self.sums.clear();
        self.sums.resize(count, [0.0; LANES]);
        self.top.clear();
        self.top.resize(count, f32::MIN);
        self.q.clear();
        self.first.clear();
        self.last.clear();
        for piece in &pieces[group.pieces.clone()] {
            for number in 0..piece.tokens {
                let start = ((piece.token + number) * heads.all + heads.first) * width;
                let numbers = &q[start..start + heads.count * width];
                self.q.extend(numbers.iter().map(|x| x.to_f32() * scale));
                let last = piece.position + number;
                let first = (last + 1).saturating_sub(heads.window);
                self.first.extend((0..heads.count).map(|_| first));
                self.last.extend((0..heads.count).map(|_| last));
            }
        }
    }

    /// The output of query `index`.
    pub fn finish<Q: Element>(&self, index: usize, out: &mut [Q]) {
        let mut sums = self.sums[index];
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                sums[lane] += sums[lane + half];
            }
            half /= 2;
        }
        let o = self.o[index * self.chunks..][..self.chunks].as_flattened();
        for (to, x) in out.iter_mut().zip(o) {
            *to = Q::from_f32(x / sums[0]);
        }
    }
}
