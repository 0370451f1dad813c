//! Splits a text into segments: added tokens are cut out, the rest is normalized and gets its prefix space.

pub mod added;
pub mod nfc;

use crate::error::Result;
use crate::memory::reserve;
use crate::model::Model;
use crate::special::Special;
use added::{AddedMatcher, Pass, Segment};
use nfc::Normalized;

/// A segment of a text, ready to be encoded.
pub enum Prepared<'t> {
    /// Text to be pre-tokenized and merged.
    Text(PreparedText<'t>),
    /// An added token.
    Added {
        /// Its id.
        id: u32,
        /// Its bounds in the given text.
        start: usize,
        end: usize,
    },
}

/// A segment of text, normalized, with its prefix space.
pub struct PreparedText<'t> {
    /// Its bytes.
    pub bytes: &'t [u8],
    /// Whether the first of them is a prepended space.
    prefixed: bool,
    /// Where it begins in the normalized range that it is part of.
    start: usize,
    /// That range, if it was normalized.
    normalized: Option<&'t Normalized<'t>>,
    /// Where that range begins in the given text.
    base: usize,
}

impl PreparedText<'_> {
    /// The bounds, in the given text, of what the bytes from `start` to `end` of `bytes` come from.
    pub fn origins(&self, start: usize, end: usize) -> (usize, usize) {
        let [start, end] =
            [start, end].map(|at| self.start + at.saturating_sub(usize::from(self.prefixed)));
        let (start, end) = match self.normalized {
            // A prepended space comes from no byte.
            Some(normalized) if start == end => {
                (normalized.origin(start), normalized.origin(start))
            }
            Some(normalized) => (normalized.origin(start), normalized.end_origin(end)),
            None => (start, end),
        };
        (self.base + start, self.base + end)
    }
}

type Visit<'v> = dyn FnMut(Prepared<'_>) -> Result<()> + 'v;

/// Calls `visit` for each segment of `text`, in order.
///
/// Added tokens that are not `normalized` are searched for first; the rest is normalized, and the other tokens are searched for
/// in it; each segment between them gets its own prefix space. As in the `tokenizers` library, normalization comes before the
/// second search, so text can become such a token by it, except with [`Special::Text`], where none is searched for.
pub fn for_each_segment(
    model: &Model,
    added: Option<&AddedMatcher>,
    text: &[u8],
    special: Special,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let (raw, normalized) = (
        added.map(|added| &added.raw),
        added.map(|added| &added.normalized),
    );
    for_each(raw, text, special, &mut |segment| match segment {
        Segment::Added { id, start, end } => visit(Prepared::Added { id, start, end }),
        Segment::Text { start, end } if model.nfc => {
            let changed = nfc::normalize(&text[start..end]);
            let changed = (&changed.bytes[..], Some(&changed));
            prepare(model, changed, start, normalized, special, visit)
        }
        Segment::Text { start, end } => {
            let unchanged = (&text[start..end], None);
            prepare(model, unchanged, start, normalized, special, visit)
        }
    })
}

fn prepare(
    model: &Model,
    (text, normalized): (&[u8], Option<&Normalized<'_>>),
    base: usize,
    pass: Option<&Pass>,
    special: Special,
    visit: &mut Visit<'_>,
) -> Result<()> {
    for_each(pass, text, special, &mut |segment| match segment {
        Segment::Added { id, start, end } => {
            let (start, end) = normalized.map_or((start, end), |normalized| {
                (normalized.origin(start), normalized.end_origin(end))
            });
            visit(Prepared::Added {
                id,
                start: base + start,
                end: base + end,
            })
        }
        Segment::Text { start, end } => {
            let segment_text = &text[start..end];
            let prefixed = model.prefix_space && !segment_text.starts_with(b" ");
            let mut owned = Vec::new();
            if prefixed {
                reserve(
                    &mut owned,
                    segment_text.len() + 1,
                    "a text with its prefix space",
                )?;
                owned.push(b' ');
                owned.extend_from_slice(segment_text);
            }
            visit(Prepared::Text(PreparedText {
                bytes: if prefixed { &owned } else { segment_text },
                prefixed,
                start,
                normalized,
                base,
            }))
        }
    })
}

/// The segments of `text`; all of it if nothing is searched for.
fn for_each(
    pass: Option<&Pass>,
    text: &[u8],
    special: Special,
    visit: &mut dyn FnMut(Segment) -> Result<()>,
) -> Result<()> {
    match pass {
        Some(pass) => pass
            .segments(text, special)?
            .into_iter()
            .try_for_each(visit),
        None if text.is_empty() => Ok(()),
        None => visit(Segment::Text {
            start: 0,
            end: text.len(),
        }),
    }
}

/// Makes offsets monotonic where tokens overlap (one token can be in the white space that another one took).
pub fn make_monotonic(offsets: &mut [u64]) {
    let mut reached = 0;
    for offset in offsets {
        reached = reached.max(*offset);
        *offset = reached;
    }
}
