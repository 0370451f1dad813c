//! The work that a pre-token takes, and the memory that is kept.

use super::*;

#[test]
fn work_is_linear() {
    assert_linear_work([("small", trained(&"-".repeat(300), 262))]);
}

#[test]
#[ignore = "needs the rank files of gpt2, cl100k and o200k; tests/native/test_published_vocabularies.py"]
fn work_of_published_vocabularies_grows_with_the_text_and_no_faster() {
    assert_linear_work(vocabularies());
}

fn assert_linear_work(models: impl IntoIterator<Item = (&'static str, Model)>) {
    for (name, model) in models {
        let mut pair = Pair::of(model);
        for kind in 0..floods(1).len() {
            let [one, ten, hundred] = [1_000, 10_000, 100_000].map(|bytes| {
                let (flood, text) = floods(bytes).swap_remove(kind);
                pair.buffers = MergeBuffers::default();
                pair.encode(&text);
                (flood, pair.buffers.steps() as f64 / text.len() as f64)
            });
            // The first pairs of tokens are checked, later ones are cached: the work per byte falls, and never rises.
            assert!(
                ten.1 < one.1 * 1.2 && hundred.1 < ten.1 * 1.2,
                "{name}: {one:?} {ten:?} {hundred:?}"
            );
            assert!(hundred.1 < 12.0, "{name}: {hundred:?} steps a byte");
        }
    }
}

#[test]
fn the_buffer_of_a_long_pre_token_shrinks_again() {
    let mut pair = Pair::of(trained("ab", 257));
    pair.agrees(&vec![b'b'; 1 << 20]).unwrap();
    assert!(pair.buffers.dead_ends.capacity() <= 1 << 10);
}
