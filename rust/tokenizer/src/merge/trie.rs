//! The longest token that a text begins with: a double-array trie (J. Aoe, *An Efficient Digital Search Algorithm by Using a
//! Double-Array Structure*, 1989), one word a node, with a table of its own for the first two bytes.

use super::NONE;
use std::collections::VecDeque;

/// A node: what leads to it, the longest token down to it, and where its children are.
///
/// Children of a node stand at its base with their byte's bits flipped. No two nodes have the same base, so that the byte
/// alone tells whether a slot is the child looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot(u64);

/// Bits of the byte, and one more for "free".
const LABEL_BITS: u32 = 9;
const LABEL: u64 = (1 << LABEL_BITS) - 1;
const TOKEN_BITS: u32 = 23;
/// The slots of this base are free for ever: it is the base of nodes without children.
const CHILDLESS: u32 = 0;

impl Slot {
    const FREE: Self = Self(LABEL);

    fn new(byte: u8, token: u32, base: u32) -> Self {
        Self(
            u64::from(byte)
                | u64::from(token) << LABEL_BITS
                | u64::from(base) << (LABEL_BITS + TOKEN_BITS),
        )
    }

    #[inline]
    fn is(self, byte: u8) -> bool {
        self.0 & LABEL == u64::from(byte)
    }

    #[inline]
    fn token(self) -> u32 {
        (self.0 >> LABEL_BITS) as u32 & ((1 << TOKEN_BITS) - 1)
    }

    #[inline]
    fn base(self) -> u32 {
        (self.0 >> (LABEL_BITS + TOKEN_BITS)) as u32
    }
}

/// The trie of all tokens.
pub struct Trie {
    /// Node of each two bytes.
    pairs: Vec<Slot>,
    /// Token of each byte.
    bytes: [u32; 256],
    slots: Vec<Slot>,
    /// Nodes of each byte again and again: once, twice, ..., as often as some token has it.
    runs: Vec<Vec<Slot>>,
}

/// Leading bytes that are equal before the run is counted, rather than walked.
const RUN: usize = 8;

impl Trie {
    /// The longest token that `text` (not empty) begins with, and the steps it took.
    #[inline]
    pub fn longest(&self, text: &[u8]) -> (u32, usize) {
        let &[first, second, ..] = text else {
            return (
                text.first()
                    .map_or(NONE, |&byte| self.bytes[usize::from(byte)]),
                1,
            );
        };
        let mut node = self.pairs[usize::from(first) << 8 | usize::from(second)];
        let mut at = 2;
        if first == second
            && text
                .first_chunk()
                .is_some_and(|start| *start == [first; RUN])
        {
            let run = &self.runs[usize::from(first)];
            let count = text
                .iter()
                .take(run.len())
                .take_while(|byte| **byte == first)
                .count();
            (node, at) = (run[count - 1], count);
        }
        let start = at;
        for &byte in &text[at..] {
            let next = self.slots[(node.base() ^ u32::from(byte)) as usize];
            if !next.is(byte) {
                break;
            }
            node = next;
            at += 1;
        }
        (node.token(), at - start + 1)
    }

    /// The node of each number of this byte, two and more.
    fn run_of(&self, byte: u8) -> Vec<Slot> {
        let first = self.pairs[usize::from(byte) << 8 | usize::from(byte)];
        let mut run = vec![first; 2];
        loop {
            let next = self.slots[(run[run.len() - 1].base() ^ u32::from(byte)) as usize];
            if !next.is(byte) {
                return run;
            }
            run.push(next);
        }
    }
}

/// The trie of `texts` by their places, and for each the longest other one before place `whole_from` that it begins with.
///
/// Each single byte is among them.
pub fn build(texts: &[&[u8]], whole_from: u32) -> (Trie, Vec<u32>) {
    let mut sorted: Vec<Text> = (0..)
        .zip(texts)
        .map(|(number, text)| Text::of(number, text))
        .collect();
    sorted.sort_unstable_by(|a, b| {
        let bytes = || texts[a.number as usize].cmp(texts[b.number as usize]);
        a.start
            .cmp(&b.start)
            .then_with(bytes)
            .then(a.number.cmp(&b.number))
    });
    let mut builder = Builder {
        texts,
        whole_from,
        sorted,
        prefixes: vec![NONE; texts.len()],
        array: Array::new(),
        stack: Vec::new(),
        children: Vec::new(),
    };
    let trie = builder.build();
    (trie, builder.prefixes)
}

/// A text among its likes: most of them are told apart, and read, without going where their bytes are.
struct Text {
    /// The first eight bytes as a number that compares as they do.
    start: u64,
    number: u32,
    len: u32,
}

impl Text {
    fn of(number: u32, text: &[u8]) -> Self {
        let mut bytes = [0; 8];
        let len = text.len().min(8);
        bytes[..len].copy_from_slice(&text[..len]);
        Self {
            start: u64::from_be_bytes(bytes),
            number,
            len: text.len() as u32,
        }
    }
}

struct Builder<'t> {
    texts: &'t [&'t [u8]],
    whole_from: u32,
    /// The texts in the order of their bytes.
    sorted: Vec<Text>,
    prefixes: Vec<u32>,
    array: Array,
    /// Nodes whose children are still to be put into the array.
    stack: Vec<Node>,
    /// Children of the node in hand.
    children: Vec<(u8, Node)>,
}

/// A node while the trie is built.
#[derive(Clone, Copy)]
struct Node {
    /// The texts that begin with it: a range of `sorted`.
    first: usize,
    end: usize,
    /// Its bytes.
    depth: usize,
    /// The longest text down to it, and the longest one before `whole_from`.
    token: u32,
    part: u32,
    /// Where it stands in the array.
    slot: usize,
}

impl Builder<'_> {
    fn build(&mut self) -> Trie {
        let mut trie = Trie {
            pairs: vec![Slot::FREE; 1 << 16],
            bytes: [NONE; 256],
            slots: Vec::new(),
            runs: Vec::new(),
        };
        let root = Node {
            first: 0,
            end: self.sorted.len(),
            depth: 0,
            token: NONE,
            part: NONE,
            slot: 0,
        };
        self.find_children(root);
        for (first, node) in std::mem::take(&mut self.children) {
            trie.bytes[usize::from(first)] = node.token;
            let at = usize::from(first) << 8;
            trie.pairs[at..at + 256].fill(Slot::new(first, node.token, CHILDLESS));
            self.find_children(node);
            for (second, node) in std::mem::take(&mut self.children) {
                let base = self.place_children(node);
                trie.pairs[at | usize::from(second)] = Slot::new(second, node.token, base);
                self.place_descendants();
            }
        }
        trie.slots = std::mem::take(&mut self.array.slots);
        trie.runs = (0..=u8::MAX).map(|byte| trie.run_of(byte)).collect();
        trie
    }

    fn place_descendants(&mut self) {
        while let Some(node) = self.stack.pop() {
            let base = self.place_children(node);
            let slot = &mut self.array.slots[node.slot];
            *slot = Slot::new((slot.0 & LABEL) as u8, node.token, base);
        }
    }

    /// Puts the children of `node` into the array, and on the stack for their own. Returns their base.
    fn place_children(&mut self, node: Node) -> u32 {
        self.find_children(node);
        if self.children.is_empty() {
            return CHILDLESS;
        }
        let base = self.array.take(&self.children);
        for (byte, child) in &mut self.children {
            child.slot = (base ^ u32::from(*byte)) as usize;
            self.array.slots[child.slot] = Slot::new(*byte, child.token, CHILDLESS);
            // The last of its texts is the longest, or there is another one.
            if child.end - child.first > 1 || self.sorted[child.first].len as usize > child.depth {
                self.stack.push(*child);
            }
        }
        base
    }

    /// Byte `depth` of a text, `None` behind its end.
    #[inline]
    fn byte(&self, place: usize, depth: usize) -> Option<u8> {
        let text = &self.sorted[place];
        match depth {
            _ if depth >= text.len as usize => None,
            0..8 => Some((text.start >> (56 - 8 * depth)) as u8),
            _ => self.texts[text.number as usize].get(depth).copied(),
        }
    }

    /// The nodes one byte below `node`; remembers what the texts that end there begin with.
    fn find_children(&mut self, node: Node) {
        self.children.clear();
        for place in node.first..node.end {
            // Texts that end at the node itself come first.
            let Some(byte) = self.byte(place, node.depth) else {
                continue;
            };
            match self.children.last_mut() {
                Some((last, child)) if *last == byte => child.end = place + 1,
                _ => self.children.push((
                    byte,
                    Node {
                        first: place,
                        end: place + 1,
                        depth: node.depth + 1,
                        ..node
                    },
                )),
            }
            let Text { number, len, .. } = self.sorted[place];
            if len as usize == node.depth + 1 {
                self.prefixes[number as usize] = node.part;
                // Of equal texts the first counts: merging arrives at it, if at any of them.
                if let Some((_, child)) = self.children.last_mut()
                    && child.first == place
                {
                    child.token = number;
                    if number < self.whole_from {
                        child.part = number;
                    }
                }
            }
        }
    }
}

/// Slots in blocks of 256: the children of a node are in one block.
#[derive(Default)]
struct Array {
    slots: Vec<Slot>,
    /// Free slots of each block, a bit each.
    free: Vec<[u64; 4]>,
    /// Bases nobody has taken, a bit each.
    bases: Vec<[u64; 4]>,
    /// Blocks that may have room.
    open: VecDeque<usize>,
}

/// The newest blocks are looked through for a place before another one is begun: so many for an only child, which fits nearly
/// anywhere, and so many for several.
const OPEN_BLOCKS: usize = 16;
const OPEN_TO_MANY: usize = 3;

impl Array {
    /// One that holds nothing but the free slots of nodes without children.
    fn new() -> Self {
        let mut array = Self::default();
        array.add_block();
        array.free[0] = [0; 4];
        array.open.clear();
        array
    }

    /// A base of nobody's with free slots for these children, which are taken.
    fn take(&mut self, children: &[(u8, Node)]) -> u32 {
        let (block, flip) = self.find(children);
        for (byte, _) in children {
            clear(&mut self.free[block], byte ^ flip);
        }
        clear(&mut self.bases[block], flip);
        (block as u32) << 8 | u32::from(flip)
    }

    /// Block and low bits of such a base.
    fn find(&mut self, children: &[(u8, Node)]) -> (usize, u8) {
        if let [_] = children {
            // What has no place for an only child is as good as full: each block fails once.
            while let Some(&block) = self.open.front() {
                match self.fit(block, children) {
                    Some(flip) => return (block, flip),
                    None => self.open.pop_front(),
                };
            }
        }
        let newest = self.open.iter().rev().take(OPEN_TO_MANY);
        let found = newest
            .copied()
            .find_map(|block| Some((block, self.fit(block, children)?)));
        found.unwrap_or_else(|| {
            self.add_block();
            (self.free.len() - 1, 0)
        })
    }

    fn add_block(&mut self) {
        self.slots.resize(self.slots.len() + 256, Slot::FREE);
        self.free.push([u64::MAX; 4]);
        self.bases.push([u64::MAX; 4]);
        self.open.push_back(self.free.len() - 1);
        if self.open.len() > OPEN_BLOCKS {
            self.open.pop_front();
        }
    }

    /// The low bits of a base in a block that is free.
    fn fit(&self, block: usize, children: &[(u8, Node)]) -> Option<u8> {
        let (free, bases) = (&self.free[block], &self.bases[block]);
        let [(first, _), rest @ ..] = children else {
            return None;
        };
        ones(free).map(|slot| slot ^ first).find(|flip| {
            is_set(bases, *flip) && rest.iter().all(|(byte, _)| is_set(free, byte ^ flip))
        })
    }
}

fn ones(bits: &[u64; 4]) -> impl Iterator<Item = u8> {
    (0..4_u8).flat_map(|word| {
        let mut left = bits[usize::from(word)];
        std::iter::from_fn(move || {
            let bit = left.trailing_zeros() as u8;
            left &= left.wrapping_sub(1);
            (bit < 64).then_some(word << 6 | bit)
        })
    })
}

fn is_set(bits: &[u64; 4], place: u8) -> bool {
    bits[usize::from(place >> 6)] >> (place & 63) & 1 == 1
}

fn clear(bits: &mut [u64; 4], place: u8) {
    bits[usize::from(place >> 6)] &= !(1 << (place & 63));
}
