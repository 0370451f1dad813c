//! The words of a prompt in the words of a document, allowing for edits.

/// Where a sequence is found in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alignment {
    /// Words in common, in order.
    pub matched: usize,
    /// First word of the document that is matched.
    pub start: usize,
    /// Word after the last one that is matched.
    pub end: usize,
}

/// The longest common subsequence of `needle` and `words`; of the longest ones the shortest span, then the first.
///
/// Word `needle_at` of the needle is at `words_at`; word `i` is compared with words up to `slack` away from where it is
/// expected, so only words between `window(...)` matter.
pub(crate) fn align(
    needle: &[u64],
    words: &[u64],
    (needle_at, words_at): (usize, usize),
    slack: usize,
) -> Alignment {
    let (from, to) = window(needle.len(), words.len(), (needle_at, words_at), slack);
    let window = &words[from..to];
    // Where the needle's word 0 is expected in the window; the last word that it meets is `slack` after that.
    let expected = words_at as i64 - needle_at as i64 - from as i64;
    let bound = |place: i64| place.clamp(0, window.len() as i64) as usize;
    // For each end in the window: (matched, start of the latest-starting alignment).
    let mut above = vec![(0, 0); window.len() + 1];
    let mut row = above.clone();
    for (number, word) in needle.iter().enumerate() {
        let (place, slack) = (expected + number as i64, slack as i64);
        let (first, last) = (bound(place - slack), bound(place + slack + 1));
        row[..=first].copy_from_slice(&above[..=first]);
        for at in first..last {
            let kept = row[at].max(above[at + 1]);
            row[at + 1] = if *word == window[at] {
                let (matched, start) = above[at];
                let start = if matched == 0 { at } else { start };
                kept.max((matched + 1, start))
            } else {
                kept
            };
        }
        // Later ends have no new words to compare with: they keep the best that ends before.
        for at in last..window.len() {
            row[at + 1] = row[at].max(above[at + 1]);
        }
        std::mem::swap(&mut row, &mut above);
    }
    let mut best = Alignment {
        matched: 0,
        start: from,
        end: from,
    };
    for (end, &(matched, start)) in above.iter().enumerate() {
        let is_shorter = matched == best.matched && end - start < best.end - best.start;
        if matched > best.matched || (matched > 0 && is_shorter) {
            best = Alignment {
                matched,
                start: from + start,
                end: from + end,
            };
        }
    }
    best
}

/// The words that a needle is compared with: from the first to before the last.
pub(crate) fn window(
    needle: usize,
    words: usize,
    (needle_at, words_at): (usize, usize),
    slack: usize,
) -> (usize, usize) {
    let from = words_at.saturating_sub(needle_at + slack);
    let to = (words_at + slack + needle).saturating_sub(needle_at);
    (from.min(words), to.min(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Length of the longest common subsequence, the textbook way.
    fn reference(left: &[u64], right: &[u64]) -> usize {
        let mut table = vec![vec![0; right.len() + 1]; left.len() + 1];
        for (row, one) in left.iter().enumerate() {
            for (column, other) in right.iter().enumerate() {
                table[row + 1][column + 1] = if one == other {
                    table[row][column] + 1
                } else {
                    table[row][column + 1].max(table[row + 1][column])
                };
            }
        }
        table[left.len()][right.len()]
    }

    /// The same, where word `i` meets only words near `start + i`.
    fn banded(needle: &[u64], words: &[u64], start: isize, slack: usize) -> usize {
        let mut table = vec![vec![0; words.len() + 1]; needle.len() + 1];
        for (row, one) in needle.iter().enumerate() {
            for (column, other) in words.iter().enumerate() {
                let is_near = (column as isize - row as isize - start).unsigned_abs() <= slack;
                let joined = if one == other && is_near {
                    table[row][column] + 1
                } else {
                    0
                };
                table[row + 1][column + 1] = joined
                    .max(table[row][column + 1])
                    .max(table[row + 1][column]);
            }
        }
        table[needle.len()][words.len()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn it_is_the_longest_common_subsequence_within_the_band(
            needle in prop::collection::vec(0_u64..4, 1..12),
            words in prop::collection::vec(0_u64..4, 1..20),
            places in (0_usize..12, 0_usize..20),
            slack in 0_usize..30,
        ) {
            let (needle_at, words_at) = (places.0 % needle.len(), places.1 % words.len());
            let found = align(&needle, &words, (needle_at, words_at), slack);
            let start = words_at as isize - needle_at as isize;
            prop_assert_eq!(found.matched, banded(&needle, &words, start, slack));
            let within = &words[found.start..found.end];
            prop_assert!(reference(&needle, within) >= found.matched);
            if found.matched > 0 {
                prop_assert!(needle.contains(&within[0]) && needle.contains(&within[within.len() - 1]));
            }
            if slack == 29 {
                prop_assert_eq!(found.matched, reference(&needle, &words));
            }
        }
    }

    #[test]
    fn a_changed_and_an_added_word_are_passed_over() {
        let words = [9, 9, 1, 2, 8, 4, 7, 5, 9];
        let found = align(&[1, 2, 3, 4, 5], &words, (0, 2), 3);
        assert_eq!(
            found,
            Alignment {
                matched: 4,
                start: 2,
                end: 8
            }
        );
    }
}
