//! The first tokens without the rest.

use super::*;

proptest! {
    #[test]
    fn the_first_tokens_alone(merges in wild_merges(), seed: u64, pre_tokens in proptest::collection::vec("[abc]{1,400}", 4), max_ids in 0_usize..50, at_a_time in 1_usize..60) {
        let model = listed(&merges, MergeOrder::Listed).unwrap();
        for model in [shuffled(model.clone(), seed), model] {
            let mut pair = Pair::of(model);
            for pre_token in &pre_tokens {
                pair.begins(pre_token.as_bytes(), max_ids, at_a_time);
            }
        }
    }
}

#[test]
#[ignore = "needs the rank files of gpt2, cl100k and o200k; tests/native/test_published_vocabularies.py"]
fn the_first_tokens_of_a_flood_do_not_read_the_rest() {
    for (name, model) in vocabularies() {
        let mut pair = Pair::of(model);
        for (flood, text) in floods(20_000) {
            for max_ids in [1, 10] {
                assert!(pair.begins(&text, max_ids, 4), "{name} {flood} {max_ids}");
                pair.buffers = MergeBuffers::default();
                pair.merger
                    .append_at_most(&text, max_ids, &mut pair.buffers, &mut Vec::new());
                assert!(
                    pair.buffers.steps() < 40_000,
                    "{name} {flood}: {} steps",
                    pair.buffers.steps()
                );
            }
        }
    }
}
