//! Building the trie: texts in the order of their bytes, nodes from the root down.

use super::NONE;
use super::double_array::Array;
use super::trie::{CHILDLESS, Slot, Trie};

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
        bytes: Vec::new(),
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
    /// Their bytes.
    bytes: Vec<u8>,
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
            *slot = Slot::new(slot.byte(), node.token, base);
        }
    }

    /// Puts the children of `node` into the array, and on the stack for their own. Returns their base.
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
