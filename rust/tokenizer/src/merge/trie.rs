//! The longest token that a text begins with: a double-array trie (J. Aoe, *An Efficient Digital Search Algorithm by Using a
//! Double-Array Structure*, 1989), one word a node, with a table of its own for the first two bytes.

use super::NONE;

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
}

impl Trie {
    /// The longest token that `text` (not empty) begins with, and how many bytes were looked at.
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
        let mut steps = 2;
        for &byte in &text[2..] {
            let next = self.slots[(node.base() ^ u32::from(byte)) as usize];
            if !next.is(byte) {
                break;
            }
            node = next;
            steps += 1;
        }
        (node.token(), steps)
    }
}

/// The trie of `texts` by their places, and for each the longest other one before place `whole_from` that it begins with.
///
/// Each single byte is among them.
pub fn build(texts: &[&[u8]], whole_from: u32) -> (Trie, Vec<u32>) {
    let mut sorted: Vec<(u64, u32)> = (0..)
        .zip(texts)
        .map(|(place, text)| (start(text), place))
        .collect();
    sorted.sort_unstable_by(|a, b| {
        let bytes = || texts[a.1 as usize].cmp(texts[b.1 as usize]);
        a.0.cmp(&b.0).then_with(bytes).then(a.1.cmp(&b.1))
    });
    let places = sorted.into_iter().map(|(_, place)| place).collect();
    let mut builder = Builder {
        texts,
        whole_from,
        places,
        prefixes: vec![NONE; texts.len()],
        array: Array::new(),
        stack: Vec::new(),
    };
    let trie = builder.build();
    (trie, builder.prefixes)
}

/// The first eight bytes as a number that compares as they do.
fn start(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = text.len().min(8);
    bytes[..len].copy_from_slice(&text[..len]);
    u64::from_be_bytes(bytes)
}

struct Builder<'t> {
    texts: &'t [&'t [u8]],
    whole_from: u32,
    /// Places of the texts in the order of their bytes.
    places: Vec<u32>,
    prefixes: Vec<u32>,
    array: Array,
    /// Nodes whose children are still to be put into the array.
    stack: Vec<Node>,
}

/// A node while the trie is built.
#[derive(Clone, Copy)]
struct Node {
    /// The texts that begin with it: a range of `places`.
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
        };
        let root = Node {
            first: 0,
            end: self.places.len(),
            depth: 0,
            token: NONE,
            part: NONE,
            slot: 0,
        };
        let mut pairs = Vec::new();
        for (first, node) in self.children(root) {
            trie.bytes[usize::from(first)] = node.token;
            let at = usize::from(first) << 8;
            trie.pairs[at..at + 256].fill(Slot::new(first, node.token, CHILDLESS));
            for (second, node) in self.children(node) {
                pairs.push((at | usize::from(second), second, node));
            }
        }
        for (place, second, node) in pairs {
            let base = self.place_children(node);
            trie.pairs[place] = Slot::new(second, node.token, base);
            self.place_descendants();
        }
        trie.slots = std::mem::take(&mut self.array.slots);
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
        let children = self.children(node);
        if children.is_empty() {
            return CHILDLESS;
        }
        let labels: Vec<u8> = children.iter().map(|(byte, _)| *byte).collect();
        let base = self.array.take(&labels);
        for (byte, mut child) in children {
            child.slot = (base ^ u32::from(byte)) as usize;
            self.array.slots[child.slot] = Slot::new(byte, child.token, CHILDLESS);
            if child.end - child.first > 1 || self.text(child.first).len() > child.depth {
                self.stack.push(child);
            }
        }
        base
    }

    fn text(&self, place: usize) -> &[u8] {
        self.texts[self.places[place] as usize]
    }

    /// The nodes one byte below `node`; remembers what the texts that end there begin with.
    fn children(&mut self, node: Node) -> Vec<(u8, Node)> {
        let mut children: Vec<(u8, Node)> = Vec::new();
        for place in node.first..node.end {
            // Texts that end at the node itself come first.
            let Some(&byte) = self.text(place).get(node.depth) else {
                continue;
            };
            if children.last().is_none_or(|(last, _)| *last != byte) {
                children.push((
                    byte,
                    Node {
                        first: place,
                        end: place,
                        depth: node.depth + 1,
                        ..node
                    },
                ));
            }
            let ends = self.text(place).len() == node.depth + 1;
            let Some((_, child)) = children.last_mut() else {
                continue;
            };
            child.end = place + 1;
            if ends {
                let number = self.places[place];
                self.prefixes[number as usize] = node.part;
                // Of equal texts the one that merging arrives at counts: it has the smaller place.
                if child.first == place {
                    child.token = number;
                    if number < self.whole_from {
                        child.part = number;
                    }
                }
            }
        }
        children
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
}

/// Blocks that are looked through before a new one is begun.
const OPEN_BLOCKS: usize = 16;

impl Array {
    /// One that holds nothing but the free slots of nodes without children.
    fn new() -> Self {
        let mut array = Self::default();
        array.add_block();
        array.free[0] = [0; 4];
        array
    }

    /// A base of nobody's with free slots for these bytes, which are taken.
    fn take(&mut self, bytes: &[u8]) -> u32 {
        let blocks = self.free.len();
        let open = blocks.saturating_sub(OPEN_BLOCKS)..blocks;
        let found = open
            .clone()
            .find_map(|block| self.fit(block, bytes).map(|flip| (block, flip)));
        let (block, flip) = found.unwrap_or_else(|| {
            self.add_block();
            (blocks, 0)
        });
        for byte in bytes {
            clear(&mut self.free[block], byte ^ flip);
        }
        clear(&mut self.bases[block], flip);
        (block as u32) << 8 | u32::from(flip)
    }

    fn add_block(&mut self) {
        self.slots.resize(self.slots.len() + 256, Slot::FREE);
        self.free.push([u64::MAX; 4]);
        self.bases.push([u64::MAX; 4]);
    }

    /// The low bits of a base in a block that is free.
    fn fit(&self, block: usize, bytes: &[u8]) -> Option<u8> {
        let (free, bases) = (&self.free[block], &self.bases[block]);
        let [first, rest @ ..] = bytes else {
            return None;
        };
        ones(free)
            .map(|slot| slot ^ first)
            .find(|flip| is_set(bases, *flip) && rest.iter().all(|byte| is_set(free, byte ^ flip)))
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
