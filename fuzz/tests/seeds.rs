//! The fuzz targets on their seeds and on changes of them: what an ordinary `cargo test` can do of fuzzing.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use stategpt_fuzz::Mutations;

const CHANGES: usize = 3000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn run(target: &str, check: fn(&[u8])) {
    let seeds = seeds(target);
    assert!(seeds.len() > 3, "{target} has seeds");
    for data in seeds
        .iter()
        .cloned()
        .chain(Mutations::of(&seeds).take(CHANGES))
    {
        if std::panic::catch_unwind(|| check(&data)).is_err() {
            let shown: String = data
                .iter()
                .flat_map(|byte| std::ascii::escape_default(*byte))
                .map(char::from)
                .collect();
            panic!("{target} does not hold for b\"{shown}\"");
        }
    }
}

#[test]
fn any_bytes_are_encoded_and_come_back() {
    run("encode", stategpt_fuzz::encode);
}

#[test]
fn any_file_is_read_or_refused() {
    run("format", stategpt_fuzz::format);
}

#[test]
fn any_records_are_kept_rejected_or_blank() {
    run("rankings", stategpt_fuzz::rankings);
}

#[test]
fn any_layout_is_traversed_or_refused() {
    run("layout", stategpt_fuzz::layout);
}

#[test]
fn any_manifest_is_read_or_refused() {
    run("manifest", stategpt_fuzz::manifest);
}

#[test]
fn any_description_and_offsets_are_read_or_refused() {
    run("shards", stategpt_fuzz::shards);
}

#[test]
fn seeds_of_the_formats_are_read() {
    let read = seeds("format")
        .iter()
        .filter(|data| stategpt_tokenizer::Tokenizer::from_json(data).is_ok())
        .count();
    assert!(read >= 7, "{read} seeds are a whole tokenizer.json");
}
