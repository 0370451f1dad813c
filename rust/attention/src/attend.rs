//! Divides a step into the work of one group and one key-value head each, and does it on several threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use stategpt_simd::{LANES, Tier};

use crate::element::Element;
use crate::error::Error;
use crate::pages::{Shape, product};
use crate::plan::{Group, Plan};
use crate::queries::{Heads, Queries};
use crate::tile::{Blocks, PAGES, Step};

/// What attention computes beside the softmax of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Factor of a product of query and key.
    pub scale: f32,
    /// How many keys a query sees, its own among them; all if None.
    pub window: Option<usize>,
    /// A score x becomes c tanh(x / c).
    pub softcap: Option<f32>,
    /// Threads that work at most; 1 stays in the calling one.
    pub threads: usize,
}

/// Keys and values of a layer, with their sizes.
#[derive(Debug, Clone, Copy)]
pub struct Pages<'a, E> {
    /// \[P, G, D, 16\]
    pub keys: &'a [E],
    /// \[P, G, 16, D\]
    pub values: &'a [E],
    /// P, G and D.
    pub shape: Shape,
}

/// Multiply-adds below which another thread takes longer to wake than to work.
const MIN_WORK: usize = 1 << 20;

/// Attention of the plan's tokens over the pages that their rows name: `q` \[N, H, D\] -> \[N, H, D\].
///
/// Query head h reads key-value head h / (H / G). A query at position p sees the keys of positions 0 to p of its row, with a
/// window the last of them. Its result depends on nothing else: not on the other rows, on how tokens were divided into
/// steps, on threads, on numbers of pages, or on what is in slots that it does not see.
pub fn attend<Q: Element, E: Element>(
    plan: &Plan,
    q: &[Q],
    heads: usize,
    pages: &Pages<'_, E>,
    options: &Options,
) -> Result<Vec<Q>, Error> {
    attend_on(Tier::of_machine(), plan, q, heads, pages, options)
}

/// [`attend`] with an instruction set.
pub(crate) fn attend_on<Q: Element, E: Element>(
    tier: Tier,
    plan: &Plan,
    q: &[Q],
    heads: usize,
    pages: &Pages<'_, E>,
    options: &Options,
) -> Result<Vec<Q>, Error> {
    check(plan, q.len(), heads, pages)?;
    let Shape { groups, width, .. } = pages.shape;
    let mut out = vec![Q::default(); q.len()];
    let items = divided(plan, &mut out, heads, groups, width);
    let work: usize = plan.groups.iter().map(|group| group.work).sum();
    let useful = 1 + work * LANES * width * heads / MIN_WORK;
    let threads = options.threads.min(useful).min(items.len());
    let scores = Scores::new(options);
    let queue = Mutex::new(items.into_iter());
    let worker = || {
        let mut queries = Queries::default();
        loop {
            let item = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = item else { return };
            let count = heads / groups;
            let own = Heads {
                all: heads,
                first: item.head * count,
                count,
                width,
                scale: scores.scale,
                window: options.window.unwrap_or(usize::MAX),
            };
            queries.begin(&plan.pieces, item.group, q, own);
            let walk = Walk {
                plan,
                group: item.group,
                pages,
                head: item.head,
                count,
                queries: &mut queries,
                cap: scores.cap,
            };
            walk.run(tier);
            for (index, out) in item.out.into_iter().enumerate() {
                queries.finish(index, out);
            }
        }
    };
    if threads > 1 && !stategpt_threads::forked() {
        rayon::in_place_scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|_| worker());
            }
            worker();
        });
    } else {
        worker();
    }
    Ok(out)
}

fn check<E: Element>(
    plan: &Plan,
    numbers: usize,
    heads: usize,
    pages: &Pages<'_, E>,
) -> Result<(), Error> {
    let Shape { groups, width, .. } = pages.shape;
    if width == 0 || heads == 0 || groups == 0 || !heads.is_multiple_of(groups) {
        return Err(Error::Heads {
            heads,
            groups,
            width,
        });
    }
    pages.shape.check("k_pages", pages.keys.len())?;
    pages.shape.check("v_pages", pages.values.len())?;
    let expected = product(&[plan.tokens(), heads, width]);
    if numbers != expected {
        return Err(Error::Numbers {
            name: "q",
            found: numbers,
            expected,
        });
    }
    plan.check_pool(pages.shape.pages)
}

/// Factors of scores: the softmax is computed with powers of 2.
struct Scores {
    /// Factor of queries.
    scale: f32,
    /// Factor of the hyperbolic tangent.
    cap: Option<f32>,
}

impl Scores {
    fn new(options: &Options) -> Self {
        let (scale, log2_e) = (f64::from(options.scale), std::f64::consts::LOG2_E);
        match options.softcap.map(f64::from) {
            None => Self {
                scale: (scale * log2_e) as f32,
                cap: None,
            },
            Some(cap) => Self {
                scale: (scale / cap) as f32,
                cap: Some((cap * log2_e) as f32),
            },
        }
    }
}

/// The work of one group and one key-value head.
struct Item<'a, 'out, Q> {
    group: &'a Group,
    head: usize,
    /// Of each query, in the order of [`Queries`].
    out: Vec<&'out mut [Q]>,
}

fn divided<'a, 'out, Q>(
    plan: &'a Plan,
    out: &'out mut [Q],
    heads: usize,
    groups: usize,
    width: usize,
) -> Vec<Item<'a, 'out, Q>> {
    let mut outputs: Vec<Option<&mut [Q]>> = out.chunks_exact_mut(width).map(Some).collect();
    let count = heads / groups;
    let mut items = Vec::with_capacity(plan.groups.len() * groups);
    for group in &plan.groups {
        for head in 0..groups {
            let mut out = Vec::with_capacity(group.tokens * count);
            for piece in &plan.pieces[group.pieces.clone()] {
                for token in piece.token..piece.token + piece.tokens {
                    let start = token * heads + head * count;
                    out.extend(
                        outputs[start..start + count]
                            .iter_mut()
                            .filter_map(Option::take),
                    );
                }
            }
            items.push(Item { group, head, out });
        }
    }
    items
}

/// The way of a group's queries through the tree of its pages.
struct Walk<'a, E> {
    plan: &'a Plan,
    group: &'a Group,
    pages: &'a Pages<'a, E>,
    /// The key-value head.
    head: usize,
    /// Query heads of it.
    count: usize,
    queries: &'a mut Queries,
    cap: Option<f32>,
}

impl<E: Element> Walk<'_, E> {
    fn run(mut self, tier: Tier) {
        for index in self.group.segments.clone() {
            let segment = &self.plan.segments[index];
            let pieces = &self.plan.pieces[segment.pieces.clone()];
            let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
                continue;
            };
            let queries = first.offset * self.count..(last.offset + last.tokens) * self.count;
            let table = &self.plan.pages[first.pages.clone()];
            let mut place = segment.pages.start;
            while place < segment.pages.end {
                let end = (place + PAGES).min(segment.pages.end);
                let blocks = self.blocks(&table[place..end], place);
                self.tiles(tier, &blocks, queries.clone());
                place = end;
            }
        }
    }
}

impl<'a, E: Element> Walk<'a, E> {
    fn blocks(&self, table: &[u32], place: usize) -> Blocks<'a, E> {
        let mut blocks = Blocks {
            count: table.len(),
            position: place * LANES,
            keys: [&[]; PAGES],
            values: [&[]; PAGES],
            tails: [[[E::default(); LANES]; LANES]; PAGES],
        };
        let width = self.pages.shape.width;
        let rest = width % LANES;
        for (number, &page) in table.iter().enumerate() {
            let at = self.pages.shape.place(page, self.head);
            blocks.keys[number] = self.pages.keys[at.clone()].as_chunks().0;
            blocks.values[number] = &self.pages.values[at];
            if rest > 0 {
                let rows = blocks.values[number].chunks_exact(width);
                for (tail, row) in blocks.tails[number].iter_mut().zip(rows) {
                    tail[..rest].copy_from_slice(&row[width - rest..]);
                }
            }
        }
        blocks
    }

    /// Takes pages into the results of all queries that may see them, tile by tile.
    fn tiles(&mut self, tier: Tier, blocks: &Blocks<'_, E>, queries: Range<usize>) {
        let mut at = queries.start;
        while at < queries.end {
            let size = tile(queries.end - at);
            match size {
                2 => tier.run(self.step::<2>(blocks, at)),
                3 => tier.run(self.step::<3>(blocks, at)),
                4 => tier.run(self.step::<4>(blocks, at)),
                6 => tier.run(self.step::<6>(blocks, at)),
                _ => tier.run(self.step::<1>(blocks, at)),
            }
            at += size;
        }
    }

    fn step<'b, const R: usize>(
        &'b mut self,
        blocks: &'b Blocks<'_, E>,
        at: usize,
    ) -> Step<'b, E, R> {
        Step {
            blocks,
            queries: self.queries,
            at,
            cap: self.cap,
        }
    }
}

/// Queries of the next tile: 1, 2, 3, 4 or 6, as few small ones as there can be. 6 by 16 sums fill 12 registers of AVX2.
fn tile(left: usize) -> usize {
    match left {
        0..=4 => left,
        5 => 3,
        7 | 8 | 11 => 4,
        _ => 6,
    }
}
