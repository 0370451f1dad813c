//! Builds the trie from texts in the order of their bytes, from the root down.

use super::double_array::Array;
use super::token::NONE;
use super::trie::{CHILDLESS, Slot, Trie};

/// The trie of `texts` by their indices, and for each text its longest prefix among the other texts before index `whole_only_from`.
///
/// Each single byte must be among them.
pub fn build(texts: &[&[u8]], whole_only_from: u32) -> (Trie, Vec<u32>) {
    let mut builder = Builder {
        texts,
        whole_only_from,
        sorted: sorted(texts),
        prefixes: vec![NONE; texts.len()],
        array: Array::new(),
        stack: Vec::new(),
        children: Vec::new(),
        bytes: Vec::new(),
    };
    let trie = builder.build();
    (trie, builder.prefixes)
}

/// A text as one number whose order is that of the texts, then of their lengths, then of their numbers: most texts are compared,
/// and read, without access to their bytes. From the high bits on: the first eight bytes, length, number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Text(u128);

/// Bytes that a [`Text`] holds.
const HELD: usize = 8;

impl Text {
    fn of(number: u32, text: &[u8]) -> Self {
        let mut bytes = [0; HELD];
        let len = text.len().min(HELD);
        bytes[..len].copy_from_slice(&text[..len]);
        let start = u128::from(u64::from_be_bytes(bytes));
        Self(start << 64 | (text.len() as u128) << 32 | u128::from(number))
    }

    #[inline]
    fn start(self) -> u64 {
        (self.0 >> 64) as u64
    }

    #[inline]
    fn len(self) -> usize {
        (self.0 >> 32) as u32 as usize
    }

    #[inline]
    fn number(self) -> u32 {
        self.0 as u32
    }
}

/// The texts in the order of their bytes, equal ones in the order of their numbers.
fn sorted(texts: &[&[u8]]) -> Vec<Text> {
    let numbered = (0..).zip(texts);
    let mut sorted: Vec<Text> = numbered
        .map(|(number, text)| Text::of(number, text))
        .collect();
    sorted.sort_unstable();
    // If more bytes decide: shorter texts with the same start come first in any case.
    for equal in sorted.chunk_by_mut(|a, b| a.start() == b.start()) {
        let longer = equal.partition_point(|text| text.len() <= HELD);
        equal[longer..].sort_unstable_by_key(|text| (texts[text.number() as usize], text.number()));
    }
    sorted
}

struct Builder<'t> {
    texts: &'t [&'t [u8]],
    whole_only_from: u32,
    /// The texts in the order of their bytes.
    sorted: Vec<Text>,
    prefixes: Vec<u32>,
    array: Array,
    /// Nodes whose children are not in the array yet.
    stack: Vec<Node>,
    /// Children of the current node.
    children: Vec<(u8, Node)>,
    /// Their bytes.
    bytes: Vec<u8>,
}

/// A node during the construction.
#[derive(Clone, Copy)]
struct Node {
    /// The texts that begin with it: a range of `sorted`.
    first: usize,
    end: usize,
    /// Its number of bytes.
    depth: usize,
    /// The longest text on the path to it, and the longest one before `whole_only_from`.
    token: u32,
    part: u32,
    /// Its slot in the array.
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
        trie.slots.shrink_to_fit();
        trie.runs = (0..=u8::MAX).map(|byte| trie.run_of(byte)).collect();
        trie
    }

    fn place_descendants(&mut self) {
        while let Some(node) = self.stack.pop() {
            let base = self.place_children(node);
            let slot = &mut self.array.slots[node.slot];
            *slot = Slot::new(slot.byte(), node.token, base);
        }
    }

    /// Puts the children of `node` into the array, and onto the stack. Returns their base.
    fn place_children(&mut self, node: Node) -> u32 {
        self.find_children(node);
        if self.children.is_empty() {
            return CHILDLESS;
        }
        let bytes = &mut self.bytes;
        bytes.clear();
        bytes.extend(self.children.iter().map(|(byte, _)| byte));
        let base = self.array.take(bytes);
        for (byte, child) in &mut self.children {
            child.slot = (base ^ u32::from(*byte)) as usize;
            self.array.slots[child.slot] = Slot::new(*byte, child.token, CHILDLESS);
            // The last of its texts is longer, or there is more than one.
            if child.end - child.first > 1 || self.sorted[child.first].len() > child.depth {
                self.stack.push(*child);
            }
        }
        base
    }

    /// The end of the texts from `place` on that have `byte` at `depth`.
    #[inline]
    fn end_of(&self, byte: u8, depth: usize, place: usize, end: usize) -> usize {
        let others = self.sorted[place..end].iter();
        let count = match depth {
            0..HELD => others
                .take_while(|text| byte_of(text.start(), depth) == byte)
                .count(),
            _ => others
                .take_while(|text| self.texts[text.number() as usize][depth] == byte)
                .count(),
        };
        place + count
    }

    /// Finds the children of `node`, and sets the prefixes of the texts that end at them.
    fn find_children(&mut self, node: Node) {
        self.children.clear();
        let depth = node.depth;
        // Texts that end at the node itself come first, as those that end at a child do there.
        let has_ended = |text: &&Text| text.len() <= depth;
        let ended = self.sorted[node.first..node.end]
            .iter()
            .take_while(has_ended);
        let mut place = node.first + ended.count();
        while place < node.end {
            let text = self.sorted[place];
            let byte = match depth {
                0..HELD => byte_of(text.start(), depth),
                _ => self.texts[text.number() as usize][depth],
            };
            let end = self.end_of(byte, depth, place, node.end);
            let mut child = Node {
                first: place,
                end,
                depth: depth + 1,
                ..node
            };
            self.end_texts(&mut child, node.part);
            self.children.push((byte, child));
            place = end;
        }
    }

    /// Processes the texts that end at `node`; the longest part before it is `part`.
    fn end_texts(&mut self, node: &mut Node, part: u32) {
        let texts = &self.sorted[node.first..node.end];
        let ending = texts.iter().take_while(|text| text.len() == node.depth);
        for (place, text) in ending.enumerate() {
            let number = text.number();
            self.prefixes[number as usize] = part;
            // Of equal texts the first counts: merging gives it, if it gives any of them.
            if place == 0 {
                node.token = number;
                if number < self.whole_only_from {
                    node.part = number;
                }
            }
        }
    }
}

/// Byte `depth` of the first eight.
#[inline]
fn byte_of(start: u64, depth: usize) -> u8 {
    (start >> (56 - 8 * depth)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_are_in_the_order_of_their_bytes(texts in proptest::collection::vec(proptest::collection::vec(0_u8..3, 1..14), 0..80)) {
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let numbers: Vec<u32> = sorted(&texts).iter().map(|text| text.number()).collect();
            let mut expected: Vec<u32> = (0..texts.len() as u32).collect();
            expected.sort_by_key(|&number| texts[number as usize]);
            prop_assert_eq!(numbers, expected);
        }
    }
}
