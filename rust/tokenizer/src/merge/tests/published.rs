//! Published vocabularies; their files are not part of the repository.

use super::*;

#[test]
#[ignore = "needs the rank files of gpt2, cl100k and o200k; tests/native/test_published_vocabularies.py"]
fn published_vocabularies() {
    for (name, model) in vocabularies() {
        let mut pair = Pair::of(model);
        assert!(pair.is_undone(), "{name}");
        let mut noise = Noise(1);
        for round in 0..3000 {
            let pre_token = noise.of_tokens(&pair.model, 1 + round % 12);
            if !pre_token.is_empty() {
                pair.agrees_merged(&pre_token).unwrap();
            }
        }
        for (_, pre_token) in floods(3000) {
            pair.agrees_merged(&pre_token).unwrap();
            for len in 1..60 {
                pair.agrees_merged(&pre_token[..len]).unwrap();
            }
        }
    }
}
