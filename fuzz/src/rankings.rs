//! Any bytes, read as ranking records.

use std::collections::HashSet;

use stategpt_ranking::{Arrangement, Outcome, Reader, TokenGroup, arrange};

/// The bytes as JSONL, with the usual limit on lines and with a small one.
///
/// # Panics
/// If a line is lost or counted twice, or a group that was kept is not one.
pub fn rankings(data: &[u8]) {
    read(Reader::new(data), data);
    read(Reader::with_line_limit(data, 60), data);
}

fn read(mut reader: Reader<&[u8]>, data: &[u8]) {
    let mut ids = HashSet::new();
    let (mut kept, mut rejected) = (0, 0);
    for outcome in reader.by_ref() {
        match outcome {
            Ok(Outcome::Kept { group, .. }) => {
                kept += 1;
                assert!(ids.insert(group.id.clone()), "an id once: {}", group.id);
                hold(&group);
            }
            Ok(Outcome::Rejected(rejection)) => {
                rejected += 1;
                assert!(!rejection.problem.code().is_empty());
                assert!(rejection.byte_offset <= data.len() as u64);
            }
            Err(error) => unreachable!("memory does not fail: {error}"),
        }
    }
    let summary = reader.summary();
    let ends = data.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let lines = ends + u64::from(data.last().is_some_and(|&byte| byte != b'\n'));
    assert_eq!(summary.lines, lines, "every line is counted");
    assert_eq!((summary.kept, summary.rejected), (kept, rejected));
    assert_eq!(summary.lines, kept + rejected + summary.blank);
}

fn hold(group: &stategpt_ranking::Group) {
    let pairs = group.pairs();
    let distinct: HashSet<_> = pairs
        .iter()
        .map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1])))
        .collect();
    assert_eq!(distinct.len(), pairs.len(), "a preference once");
    for [winner, loser] in pairs {
        let (winner, loser) = (
            &group.completions[winner as usize],
            &group.completions[loser as usize],
        );
        assert!(winner.rank < loser.rank);
        assert!((&winner.text, winner.ended) != (&loser.text, loser.ended));
    }
    let prompt = [1];
    let ids: Vec<Vec<u32>> = group
        .completions
        .iter()
        .map(|completion| completion.text.bytes().map(u32::from).collect())
        .collect();
    for arrangement in [Arrangement::Rows, Arrangement::SharedPrefix] {
        let groups = [TokenGroup {
            prompt: &prompt,
            completions: ids.iter().map(Vec::as_slice).collect(),
        }];
        let batch = arrange(&groups, arrangement, 999, 998);
        let batch = batch.unwrap_or_else(|error| unreachable!("a small group fits: {error}"));
        assert_eq!(batch.reward_index.len(), ids.len());
        assert!(
            batch
                .reward_index
                .iter()
                .all(|&at| batch.tokens[at as usize] == 999)
        );
    }
}
