//! Where added tokens stand in a text: leftmost first, the longest of those that start at one place.

use crate::model::AddedToken;

/// A stretch of text that is either ordinary or one added token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Bytes `start..end` of the text, to be encoded as text.
    Text {
        /// First byte.
        start: usize,
        /// One beyond the last byte.
        end: usize,
    },
    /// One added token.
    Added {
        /// Its id.
        id: u32,
    },
}

/// Finds added tokens.
#[derive(Default)]
pub struct AddedMatcher {
    /// Those matched in the text as it came, then those matched in what the first left over.
    passes: [Pass; 2],
}

impl AddedMatcher {
    /// A matcher of these tokens.
    pub fn of(added: &[AddedToken]) -> Self {
        let pass = |normalized: bool| {
            Pass::of(added.iter().filter(|token| token.normalized == normalized))
        };
        Self {
            passes: [pass(false), pass(true)],
        }
    }

    /// Cuts `text` into segments, in order. O(bytes x tokens that share a first byte).
    pub fn segments(&self, text: &[u8]) -> Vec<Segment> {
        let mut segments = vec![Segment::Text {
            start: 0,
            end: text.len(),
        }];
        for pass in self.passes.iter().filter(|pass| !pass.is_empty()) {
            let mut cut = Vec::with_capacity(segments.len());
            for segment in segments {
                match segment {
                    Segment::Text { start, end } => pass.cut(text, start, end, &mut cut),
                    added @ Segment::Added { .. } => cut.push(added),
                }
            }
            segments = cut;
        }
        segments
    }
}

/// Tokens by their first byte, longest first.
struct Pass {
    by_first: Vec<Vec<(Box<[u8]>, u32)>>,
}

impl Default for Pass {
    fn default() -> Self {
        Self {
            by_first: vec![Vec::new(); 256],
        }
    }
}

impl Pass {
    fn of<'a>(added: impl Iterator<Item = &'a AddedToken>) -> Self {
        let mut pass = Self::default();
        for token in added {
            let bytes = token.content.as_bytes();
            pass.by_first[usize::from(bytes[0])].push((bytes.into(), token.id));
        }
        for tokens in &mut pass.by_first {
            tokens.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(bytes.len()));
        }
        pass
    }

    fn is_empty(&self) -> bool {
        self.by_first.iter().all(Vec::is_empty)
    }

    fn cut(&self, text: &[u8], start: usize, end: usize, segments: &mut Vec<Segment>) {
        let (mut from, mut at) = (start, start);
        while at < end {
            let rest = &text[at..end];
            match self.by_first[usize::from(rest[0])]
                .iter()
                .find(|(bytes, _)| rest.starts_with(bytes))
            {
                Some((bytes, id)) => {
                    push_text(from, at, segments);
                    segments.push(Segment::Added { id: *id });
                    at += bytes.len();
                    from = at;
                }
                None => at += 1,
            }
        }
        push_text(from, end, segments);
    }
}

fn push_text(start: usize, end: usize, segments: &mut Vec<Segment>) {
    if start < end {
        segments.push(Segment::Text { start, end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str, normalized: bool) -> AddedToken {
        AddedToken {
            id,
            content: content.to_owned(),
            special: true,
            normalized,
        }
    }

    #[test]
    fn the_leftmost_longest_token_wins() {
        let matcher = AddedMatcher::of(&[
            token(1, "<a", false),
            token(2, "<ab>", false),
            token(3, "b>", false),
        ]);
        let segments = matcher.segments(b"x<ab><a b>");
        let expected = [
            Segment::Text { start: 0, end: 1 },
            Segment::Added { id: 2 },
            Segment::Added { id: 1 },
            Segment::Text { start: 7, end: 8 },
            Segment::Added { id: 3 },
        ];
        assert_eq!(segments, expected);
    }

    #[test]
    fn normalized_tokens_are_found_in_what_the_others_leave() {
        let matcher = AddedMatcher::of(&[token(1, "abc", true), token(2, "bcd", false)]);
        assert_eq!(
            matcher.segments(b"abcd"),
            [Segment::Text { start: 0, end: 1 }, Segment::Added { id: 2 }]
        );
    }
}
