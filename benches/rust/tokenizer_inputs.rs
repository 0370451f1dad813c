//! Text like English prose and program code, made from a seed so that it needs no download.

/// A simple generator (Knuth's MMIX constants), sufficient to choose words.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

const ONSETS: [&str; 14] = [
    "", "b", "c", "d", "f", "g", "l", "m", "n", "pr", "s", "t", "th", "w",
];
const VOWELS: [&str; 7] = ["a", "e", "i", "o", "u", "ea", "ou"];
const CODAS: [&str; 8] = ["", "", "n", "r", "s", "t", "ng", "ll"];

/// About `bytes` of text in documents of a few kilobytes: sentences, numbers, lines of code, accents and Chinese.
pub fn documents(bytes: usize) -> Vec<String> {
    let mut draw = Draw(7);
    let words = words(&mut draw, 20_000);
    let mut documents = Vec::new();
    let mut made = 0;
    while made < bytes {
        let document = document(&mut draw, &words);
        made += document.len();
        documents.push(document);
    }
    documents
}

fn words(draw: &mut Draw, count: usize) -> Vec<String> {
    let syllable = |draw: &mut Draw| {
        [
            ONSETS[draw.below(ONSETS.len())],
            VOWELS[draw.below(VOWELS.len())],
            CODAS[draw.below(CODAS.len())],
        ]
        .concat()
    };
    (0..count)
        .map(|_| (0..=draw.below(3)).map(|_| syllable(draw)).collect())
        .collect()
}

fn document(draw: &mut Draw, words: &[String]) -> String {
    let mut text = String::new();
    for _ in 0..20 + draw.below(60) {
        match draw.below(8) {
            0 => text.push_str("    if value[3] >= 12345 and not done():\n        return None\n"),
            1 => text.push_str("Çà et là, les élèves étudient. 数据 处理 速度很快。\n"),
            _ => sentence(draw, words, &mut text),
        }
    }
    text
}

/// A sentence whose words roughly follow Zipf's law: the product of two uniform numbers favors the first ones.
fn sentence(draw: &mut Draw, words: &[String], text: &mut String) {
    for place in 0..5 + draw.below(12) {
        let index = draw.below(words.len()) * draw.below(words.len()) / words.len();
        if place > 0 {
            text.push(' ');
        }
        text.push_str(&words[index]);
    }
    text.push_str(".\n");
}

/// Scripts without and with spaces: first code point, number of letters, maximum characters of a word, and the separator of
/// words.
const SCRIPTS: [(u32, usize, usize, &str); 6] = [
    (0x4E00, 3000, 12, "，"),
    (0x3042, 80, 14, "、"),
    (0xAC00, 2000, 5, " "),
    (0x0430, 32, 9, " "),
    (0x03B1, 25, 9, " "),
    (0x0E01, 46, 20, " "),
];

/// About `bytes` of text in documents of one script each: Chinese, Japanese, Korean, Russian, Greek and Thai letters, some of
/// them frequent.
pub fn multilingual(bytes: usize) -> Vec<String> {
    let mut draw = Draw(11);
    let mut documents = Vec::new();
    let mut made = 0;
    while made < bytes {
        let (first, letters, longest, between) = SCRIPTS[documents.len() % SCRIPTS.len()];
        let mut text = String::new();
        while text.len() < 4000 {
            for _ in 0..=draw.below(longest) {
                let letter = draw.below(letters) * draw.below(letters) / letters;
                text.extend(char::from_u32(first + letter as u32));
            }
            text.push_str(if draw.below(12) == 0 { ".\n" } else { between });
        }
        made += text.len();
        documents.push(text);
    }
    documents
}

/// Twelve inputs of one kind of character each, of about `bytes`, on which a naive scanner or merge loop is quadratic.
pub fn floods(bytes: usize) -> Vec<(&'static str, String)> {
    let repeated = |unit: &str| unit.repeat(bytes / unit.len());
    let mut draw = Draw(13);
    let mut drawn = |alphabet: &str| {
        let letters: Vec<char> = alphabet.chars().collect();
        let mut text = String::new();
        while text.len() < bytes {
            text.push(letters[draw.below(letters.len())]);
        }
        text
    };
    let han: String = (0x4E00..0x9FA5).filter_map(char::from_u32).collect();
    let any: String = (1..0x11_0000)
        .step_by(37)
        .filter_map(char::from_u32)
        .collect();
    vec![
        ("a", repeated("a")),
        ("ab", repeated("ab")),
        ("space", repeated(" ")),
        ("newline", repeated("\n")),
        ("caret", repeated("^")),
        ("dash", repeated("-")),
        ("seven", repeated("7")),
        ("letters", drawn("abcdefghijklmnopqrstuvwxyz")),
        (
            "base64",
            drawn("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
        ),
        ("white_space", drawn(" \t\n")),
        ("han", drawn(&han)),
        ("any_unicode", drawn(&any)),
    ]
}
