//! Planted leaks and innocent texts that look like them.

use proptest::prelude::*;

use super::*;
use crate::minhash::spread;

fn rules() -> LeakRules {
    LeakRules {
        min_coverage: 0.7,
        answer_distance: 50,
        verbatim_words: 50,
    }
}

/// Words with the frequencies of a language: few of them make up most of a text.
fn word(random: u64) -> String {
    const COMMON: [&str; 24] = [
        "the", "of", "and", "a", "to", "in", "is", "was", "he", "for", "it", "with", "as", "his",
        "on", "be", "at", "by", "had", "not", "are", "but", "from", "have",
    ];
    if random % 100 < 45 {
        COMMON[(random >> 8) as usize % 24].to_owned()
    } else {
        format!("w{}", (random >> 8) % (40 + (random >> 32) % 4000))
    }
}

fn text(seed: u64, words: usize) -> Vec<String> {
    (0..words as u64)
        .map(|at| word(spread(seed << 20 ^ at)))
        .collect()
}

/// Every tenth word replaced.
fn edited(words: &[String], seed: u64) -> Vec<String> {
    let replace = |(at, word): (usize, &String)| {
        if spread(seed ^ at as u64).is_multiple_of(10) {
            "other".to_owned()
        } else {
            word.clone()
        }
    };
    words.iter().enumerate().map(replace).collect()
}

fn document(seed: u64, planted: &[&[String]]) -> String {
    let mut words = text(seed, 120);
    for part in planted {
        words.extend_from_slice(part);
    }
    words.extend(text(seed + 1, 120));
    words.join(" ")
}

/// Precision at recall: leaks verbatim and edited, prompts alone, answers alone, phrases that prompts share.
#[test]
fn planted_leaks_are_found_and_innocent_texts_are_not() {
    let count = 300_u64;
    let template = text(7777, 6);
    let prompt = |item: u64| {
        let mut words = template.clone();
        words.extend(text(1000 + item, 8 + item as usize % 30));
        words
    };
    let answer = |item: u64| text(50_000 + item, [1, 2, 3, 12, 40][item as usize % 5]);
    let items: Vec<(String, Option<String>)> = (0..count)
        .map(|item| (prompt(item).join(" "), Some(answer(item).join(" "))))
        .collect();
    let finder = LeakFinder::new(&items, rules()).unwrap();
    let (mut met, mut leaks, mut wrong) = (0, 0, 0);
    for item in 0..count {
        let (prompt, answer) = (prompt(item), answer(item));
        let seed = 900_000 + 10 * item;
        let leaked = [
            document(seed, &[&prompt, &answer]),
            document(seed, &[&edited(&prompt, seed), &answer]),
            document(seed, &[&prompt, &text(seed + 5, 3), &answer]),
        ];
        for text in &leaked {
            leaks += 1;
            let found = finder.find(text);
            met += usize::from(found.iter().any(|leak| u64::from(leak.item) == item));
            wrong += found
                .iter()
                .filter(|leak| u64::from(leak.item) != item)
                .count();
        }
        let innocent = [
            document(seed, &[&prompt]),
            document(seed, &[&answer]),
            document(seed, &[&template, &answer]),
            document(seed, &[&prompt[..prompt.len() / 2], &answer]),
        ];
        wrong += innocent
            .iter()
            .filter(|text| !finder.find(text).is_empty())
            .count();
    }
    let (recall, precision) = (
        met as f64 / f64::from(leaks),
        met as f64 / (met + wrong) as f64,
    );
    assert!(
        recall >= 0.9 && precision >= 0.95,
        "recall {recall}, precision {precision}"
    );
}

fn one(prompt: &str, answer: &str) -> LeakFinder {
    LeakFinder::new(&[(prompt.to_owned(), Some(answer.to_owned()))], rules()).unwrap()
}

const QUESTION: &str = "Which river flows through the old town of Heidelberg in Germany?";

#[test]
fn the_evidence_is_the_matched_text() {
    let finder = one(QUESTION, "the Neckar");
    let text = "Él dijo: «which river FLOWS through the old town of Heidelberg, in Germany?» It's the Neckar, he said.";
    let leak = finder.find(text)[0];
    assert_eq!(leak.rule, LeakRule::PromptAndAnswer);
    assert_eq!(
        &text[leak.span.0..leak.span.1],
        "which river FLOWS through the old town of Heidelberg, in Germany"
    );
    let answer = leak.answer.unwrap();
    assert_eq!(&text[answer.0..answer.1], "the Neckar");
    assert_eq!((leak.matched_words, leak.coverage), (11, 1.0));
}

#[test]
fn a_prompt_without_its_answer_is_innocent() {
    let finder = one(QUESTION, "the Neckar");
    assert!(
        finder
            .find(&format!("A quiz asked: {QUESTION} Nobody knew."))
            .is_empty()
    );
    assert!(
        finder
            .find("The Neckar flows through the old town of Heidelberg.")
            .is_empty()
    );
    let far = format!("{QUESTION} {} the Neckar", "and so on ".repeat(30));
    assert!(finder.find(&far).is_empty());
    assert_eq!(
        finder
            .find(&format!("The answer is the Neckar. {QUESTION}"))
            .len(),
        1
    );
}

#[test]
fn an_answer_of_one_word_must_follow_soon() {
    let finder = one(QUESTION, "Neckar");
    assert_eq!(
        finder.find(&format!("{QUESTION} It is the Neckar.")).len(),
        1
    );
    let late = format!("{QUESTION} one two three four five six seven eight nine ten eleven Neckar");
    assert!(finder.find(&late).is_empty());
    assert!(finder.find(&format!("Neckar. {QUESTION}")).is_empty());
}

#[test]
fn a_short_prompt_must_be_there_as_a_whole() {
    let finder = one("Who wrote the book Momo?", "Michael Ende");
    assert_eq!(
        finder.find("who wrote the book Momo: Michael Ende").len(),
        1
    );
    assert!(
        finder
            .find("who wrote the book Jim Knopf: Michael Ende")
            .is_empty()
    );
}

#[test]
fn a_long_run_is_a_leak_without_an_answer() {
    let words = text(3, 80);
    let finder = LeakFinder::new(&[(words.join(" "), None)], rules()).unwrap();
    let leak = finder.find(&document(9, &[&words[10..60]]))[0];
    assert_eq!((leak.rule, leak.matched_words), (LeakRule::Verbatim, 50));
    assert!(finder.find(&document(9, &[&words[10..59]])).is_empty());
    let finder = one(
        "What does the second chapter of this long story tell?",
        &words.join(" "),
    );
    assert_eq!(
        finder.find(&document(9, &[&words[30..]]))[0].rule,
        LeakRule::Verbatim
    );
}

#[test]
fn items_that_cannot_be_found_are_named() {
    let mut items: Vec<_> = (0..17)
        .map(|_| ("Describe the following picture in words.".to_owned(), None))
        .collect();
    items.push(("Why so?".to_owned(), Some("Because.".to_owned())));
    items.push((QUESTION.to_owned(), None));
    let finder = LeakFinder::new(&items, rules()).unwrap();
    assert_eq!(finder.unsearchable(), (0..18).collect::<Vec<_>>());
}

#[test]
fn rules_out_of_range_are_errors() {
    for (min_coverage, verbatim_words) in [(0.0, 50), (1.01, 50), (f64::NAN, 50), (0.7, 3)] {
        let rules = LeakRules {
            min_coverage,
            verbatim_words,
            ..rules()
        };
        assert!(LeakFinder::new(&[], rules).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_and_any_number_of_threads(texts in prop::collection::vec("[ab ]{0,40}|\\PC{0,30}", 0..12), threads in 1_usize..5) {
        let items: Vec<(String, Option<String>)> = vec![
            ("a a a a".to_owned(), Some("b".to_owned())),
            ("a b a b a b a b b".to_owned(), Some("a a b".to_owned())),
            (texts.concat(), texts.first().cloned()),
            (String::new(), None),
        ];
        let finder = LeakFinder::new(&items, LeakRules { verbatim_words: 6, ..rules() }).unwrap();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let found = finder.find_in(&texts, threads);
        prop_assert_eq!(found.len(), texts.len());
        for (text, leaks) in texts.iter().zip(found) {
            for leak in &leaks {
                prop_assert!(text.get(leak.span.0..leak.span.1).is_some());
            }
            prop_assert_eq!(leaks, finder.find(text));
        }
    }
}
