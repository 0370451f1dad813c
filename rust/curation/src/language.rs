//! The language of a text: by its function words where these are clear, else by the `whatlang` crate (trigrams of 70
//! languages, no model file).

use std::borrow::Cow;

use whatlang::{Lang, detect};

use crate::error::Error;
use crate::function_words::clear_language;

/// Parts that `whatlang` sees of a longer text, evenly spaced from its start to its end, and bytes of each.
const SAMPLE_PARTS: usize = 32;
const PART_BYTES: usize = 512;
/// ISO 639-1 codes of the languages of `whatlang`, which names them by ISO 639-3.
const SHORT: &[(&str, &str)] = &[
    ("af", "afr"),
    ("ar", "ara"),
    ("az", "aze"),
    ("be", "bel"),
    ("bg", "bul"),
    ("bn", "ben"),
    ("ca", "cat"),
    ("cs", "ces"),
    ("cy", "cym"),
    ("da", "dan"),
    ("de", "deu"),
    ("el", "ell"),
    ("en", "eng"),
    ("eo", "epo"),
    ("es", "spa"),
    ("et", "est"),
    ("fa", "pes"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("gu", "guj"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hr", "hrv"),
    ("hu", "hun"),
    ("hy", "hye"),
    ("id", "ind"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("jv", "jav"),
    ("ka", "kat"),
    ("km", "khm"),
    ("kn", "kan"),
    ("ko", "kor"),
    ("la", "lat"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("mk", "mkd"),
    ("ml", "mal"),
    ("mr", "mar"),
    ("my", "mya"),
    ("nb", "nob"),
    ("ne", "nep"),
    ("nl", "nld"),
    ("or", "ori"),
    ("pa", "pan"),
    ("pl", "pol"),
    ("pt", "por"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("si", "sin"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sn", "sna"),
    ("sr", "srp"),
    ("sv", "swe"),
    ("ta", "tam"),
    ("te", "tel"),
    ("th", "tha"),
    ("tk", "tuk"),
    ("tl", "tgl"),
    ("tr", "tur"),
    ("uk", "ukr"),
    ("ur", "urd"),
    ("uz", "uzb"),
    ("vi", "vie"),
    ("yi", "yid"),
    ("zh", "cmn"),
    ("zu", "zul"),
];

/// The languages that are kept.
pub struct Languages {
    kept: Vec<Lang>,
    min_confidence: f64,
}

impl Languages {
    /// Languages by ISO 639-1 or 639-3 code; a text in one of them stays if the detector's confidence (0 to 1) is at
    /// least `min_confidence`.
    ///
    /// # Errors
    /// [`Error::UnknownLanguage`].
    pub fn new(codes: &[String], min_confidence: f64) -> Result<Self, Error> {
        let of = |code: &String| {
            language(code).ok_or_else(|| Error::UnknownLanguage { code: code.clone() })
        };
        let kept: Result<Vec<Lang>, Error> = codes.iter().map(of).collect();
        Ok(Self {
            kept: kept?,
            min_confidence,
        })
    }

    /// The language of a text that does not stay, and the confidence; `unknown` and 0 where there is none. The language of
    /// clear function words has the confidence 1.
    #[must_use]
    pub fn foreign(&self, text: &str) -> Option<(&'static str, f64)> {
        let found = clear_language(text).map(|language| (language, 1.0));
        let sampled = || detect(&sample(text)).map(|found| (found.lang(), found.confidence()));
        let Some((language, confidence)) = found.or_else(sampled) else {
            return Some(("unknown", 0.0));
        };
        let stays = self.kept.contains(&language) && confidence >= self.min_confidence;
        (!stays).then(|| (language.code(), confidence))
    }
}

/// The text, or of one of more than 16 KiB evenly spaced parts, cut at white space where there is some.
fn sample(text: &str) -> Cow<'_, str> {
    if text.len() <= SAMPLE_PARTS * PART_BYTES {
        return Cow::Borrowed(text);
    }
    let last = text.len() - PART_BYTES;
    let mut parts = String::with_capacity(SAMPLE_PARTS * (PART_BYTES + 4));
    for number in 0..SAMPLE_PARTS {
        // In 64 bits: the product of a length and a part's number does not fit in 32.
        let start = (last as u64 * number as u64 / (SAMPLE_PARTS as u64 - 1)) as usize;
        parts.push_str(whole_words(text, start, start + PART_BYTES));
        parts.push(' ');
    }
    Cow::Owned(parts)
}

/// The text from `start` to `end`, without the words that these cut; with them where no white space is near.
fn whole_words(text: &str, start: usize, end: usize) -> &str {
    const NEAR: usize = PART_BYTES / 4;
    let (from, to) = (boundary(text, start), boundary(text, end));
    let part = &text[from..to];
    let skipped = match from {
        0 => 0,
        _ => part
            .find(char::is_whitespace)
            .filter(|&at| at < NEAR)
            .unwrap_or(0),
    };
    let part = &part[skipped..];
    let kept = match to == text.len() {
        true => part.len(),
        false => part
            .rfind(char::is_whitespace)
            .filter(|&at| at + NEAR > part.len())
            .unwrap_or(part.len()),
    };
    &part[..kept]
}

/// The first place from `at` on that is between two characters.
fn boundary(text: &str, at: usize) -> usize {
    (at..text.len())
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(text.len())
}

fn language(code: &str) -> Option<Lang> {
    let long = SHORT.iter().find(|(short, _)| *short == code);
    Lang::from_code(long.map_or(code, |(_, long)| long))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sample_has_parts_of_the_whole_text_with_whole_words() {
        let text: String = (0..20_000)
            .map(|number| format!("word{number:05} "))
            .collect();
        let sampled = sample(&text);
        let words: Vec<&str> = sampled.split_whitespace().collect();
        assert!(words.iter().all(|word| text.contains(&format!("{word} "))));
        assert_eq!(
            (words[0], words[words.len() - 1]),
            ("word00000", "word19999")
        );
        let numbers: Vec<usize> = words
            .iter()
            .map(|word| word[4..].parse().unwrap_or(0))
            .collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            numbers
                .windows(2)
                .all(|pair| pair[1] - pair[0] < 20_000 / (SAMPLE_PARTS - 1))
        );
        assert!(sampled.len() <= SAMPLE_PARTS * (PART_BYTES + 4));
        assert!(sampled.len() >= SAMPLE_PARTS * PART_BYTES * 9 / 10);
    }

    proptest! {
        #[test]
        fn any_text_can_be_sampled(piece in "[a-zé語\u{10348} \n]{1,9}", more in 0_usize..5000) {
            let text = piece.repeat((SAMPLE_PARTS * PART_BYTES + more) / piece.len() + 1);
            let sampled = sample(&text);
            prop_assert!(sampled.len() <= SAMPLE_PARTS * (PART_BYTES + 4));
        }
    }

    #[test]
    fn clear_words_decide_and_trigrams_do_where_none_are_clear() -> Result<(), Error> {
        let of = |codes: &[&str]| {
            Languages::new(
                &codes
                    .iter()
                    .map(|&code| code.to_owned())
                    .collect::<Vec<_>>(),
                0.5,
            )
        };
        let (english, german) = (of(&["en"])?, of(&["de", "rus"])?);
        let text =
            "It was the best of times, it was the worst of times, and all of us were there. ";
        assert_eq!(english.foreign(text), None);
        assert_eq!(german.foreign(text), Some(("eng", 1.0)));
        let short = "Wohnungsbaugesellschaften vermieten preisgünstige Wohnungen";
        assert_eq!(clear_language(short), None);
        assert_eq!(german.foreign(short), None);
        assert_eq!(
            german.foreign("Быстрая коричневая лиса прыгает через ленивую собаку"),
            None
        );
        assert_eq!(english.foreign("1 2"), Some(("unknown", 0.0)));
        Ok(())
    }
}
