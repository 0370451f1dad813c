//! Clear cases of a language, found by its function words in one pass: far faster than trigrams, and rarer to err.
//!
//! The words are those that make up a third or more of any running text: articles, pronouns, prepositions, auxiliaries.
//! A text whose words are not clearly of one language (mixed, terse, code, another script) is left to `whatlang`.

use std::sync::LazyLock;

use whatlang::Lang;

/// Function words of languages in Latin script, lower case, of at most `LONGEST` bytes. Languages that are near each other
/// (Danish and Norwegian, Czech and Slovak) share most of theirs, so that neither is clear.
const WORDS: &[(Lang, &str)] = &[
    (
        Lang::Eng,
        "the of and to in is that for it with as be are this you or not by from can if will when \
         which a an at was were have has had but he his her they their we i all one so about there \
         what who would its more only no these use may on",
    ),
    (
        Lang::Deu,
        "der die und das ist zu den nicht mit von sich ein eine auf für dem auch werden wird sie als \
         oder im kann in des an es er ich war aus bei nach einer eines einem einen wie nur noch aber \
         so wenn um sind zum zur wir hat diese dieser",
    ),
    (
        Lang::Fra,
        "le la les de des et un une est du en que dans pour qui ce pas sur par au ou avec l d être \
         cette sont à il elle ne se on plus mais aux son sa ses je nous vous comme si peut fait leur \
         était",
    ),
    (
        Lang::Spa,
        "el la los las de y que en un una es se del por con para no lo su como al o si este esta son \
         más pero sus le ha sin sobre entre cuando ser también muy puede fue hay me",
    ),
    (
        Lang::Ita,
        "il la di e che un una è in per non si con del della le i da sono l dei nel o alla essere \
         gli a al lo più anche come delle ma questo questa se dal nella degli ha può su d ed",
    ),
    (
        Lang::Por,
        "o a os as de e que do da em um uma é para não com se dos por no na ou ao são pode mais como \
         mas das pelo pela foi ser ele seu sua à quando muito já este esta nos nas",
    ),
    (
        Lang::Nld,
        "de het een en van is dat op te in voor niet met zijn die aan er wordt of door als kan om \
         worden ook bij uit maar dan nog deze dit naar ze hij was heeft wel je ik u geen over wat",
    ),
    (
        Lang::Afr,
        "die en van is in het nie te wat om vir dat op met word aan as sal deur ook hierdie",
    ),
    (
        Lang::Pol,
        "w i na z się nie jest do to że o jak po dla przez lub może być od są za oraz tym",
    ),
    (
        Lang::Ces,
        "a se v na je to že s z do o pro k i by jako nebo jsou který pokud ve lze při být není",
    ),
    (
        Lang::Slk,
        "a sa v na je to že s z do o pre k aj by ako alebo sú ktorý ak nie pri byť môže vo",
    ),
    (
        Lang::Slv,
        "in je v na se za so da z ki ne s pa ali po kot tudi če lahko ni od iz bo ter pri",
    ),
    (
        Lang::Hrv,
        "i u je se na da za su od s koji ili ne kao iz to će biti ako možete nije kako može pri",
    ),
    (
        Lang::Swe,
        "och i att det en som är av på för den med till inte om ett har kan från eller de du när",
    ),
    (
        Lang::Dan,
        "og i at det en er af på for den med til ikke som der et har kan fra eller de du når hvis",
    ),
    (
        Lang::Nob,
        "og i at det en er av på for den med til ikke som et har kan fra eller de du når hvis å",
    ),
    (
        Lang::Fin,
        "ja on ei se että tai kun jos ovat voi myös joka jotka ole sen mutta kuin tämä niin voidaan",
    ),
    (
        Lang::Est,
        "ja on ei et see või kui ka mis saab oma seda selle kus sa siis mida olema vaid need",
    ),
    (
        Lang::Hun,
        "a az és egy hogy nem is ez ha vagy meg van csak kell mint de ki lehet amely ezt sem",
    ),
    (
        Lang::Tur,
        "ve bir bu için ile de da olarak olan veya ne gibi daha çok en ise kadar değil eğer her",
    ),
    (
        Lang::Ron,
        "și în de la a un o nu este care cu pe pentru din să sau se ale al mai fi sunt dacă",
    ),
    (
        Lang::Vie,
        "và của là có cho các không được một trong để với này người những khi từ đã thể nếu bạn",
    ),
    (
        Lang::Ind,
        "yang dan di untuk dengan dari ini pada adalah tidak dalam ke atau akan itu anda oleh dapat \
         jika",
    ),
    (
        Lang::Cat,
        "el la els les de i que en un una és no per del amb a l d es al o si aquest aquesta com són",
    ),
    (
        Lang::Lit,
        "ir į yra kad iš su tai kaip nuo bet apie arba jei tik galite ar jūs gali šis ne per",
    ),
    (
        Lang::Lav,
        "un ir ar no uz kas lai par vai ka šo tiek jūs var šī pēc bet jo kā nav",
    ),
    (
        Lang::Cym,
        "y yn i a yr ar o ei mae ac wedi am bod gan neu hyn sydd ni os eich ydych gyfer",
    ),
    (
        Lang::Epo,
        "la de kaj en estas al por ne ke kun vi ol aŭ ĉi se sed el per pri tiu tio",
    ),
];
const LONGEST: usize = 8;
const LANGUAGES: usize = WORDS.len();
const SLOTS: usize = 2048;

/// Least share of the words that are function words of a clear language: 0.28. English prose has 0.42, rarely below 0.3.
const LEAST_PERCENT: u64 = 28;
/// Least function words of a clear language.
const LEAST_WORDS: u64 = 10;

/// A table of all words: open addressing, at most half full.
struct Table {
    /// A word's bytes, the last one lowest; 0 for an empty slot.
    words: [u64; SLOTS],
    /// A bit for each language that has the word.
    languages: [u64; SLOTS],
    /// The lower-case letter of a byte, or 0 for a byte between words.
    letters: [u8; 256],
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// The language whose function words the text has: at least 28 % of its words and 10, and half as many again as of any
/// other language. `None` where no language is that clear.
pub fn clear_language(text: &str) -> Option<Lang> {
    let (counts, words) = TABLE.count(text);
    let best = (0..LANGUAGES).max_by_key(|&language| counts[language])?;
    let found = counts[best];
    let mut others = (0..LANGUAGES).filter(|&language| language != best);
    let is_clear = found >= LEAST_WORDS
        && found * 100 >= words * LEAST_PERCENT
        && others.all(|language| found * 2 >= counts[language] * 3);
    is_clear.then_some(WORDS[best].0)
}

impl Table {
    fn new() -> Self {
        let mut table = Self {
            words: [0; SLOTS],
            languages: [0; SLOTS],
            letters: std::array::from_fn(|byte| match byte as u8 {
                byte if byte.is_ascii_alphabetic() => byte.to_ascii_lowercase(),
                byte if byte >= 0x80 => byte,
                _ => 0,
            }),
        };
        for (language, (_, words)) in WORDS.iter().enumerate() {
            for word in words.split(' ') {
                let word = word
                    .bytes()
                    .fold(0, |word, byte| word << 8 | u64::from(byte));
                let slot = table.slot(word);
                table.words[slot] = word;
                table.languages[slot] |= 1 << language;
            }
        }
        table
    }

    /// The slot that `word` has, or would get.
    #[inline]
    fn slot(&self, word: u64) -> usize {
        let mut slot = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as usize;
        while self.words[slot] != 0 && self.words[slot] != word {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }

    /// Words of each language, and all words; a word is a run of ASCII letters and of bytes beyond ASCII. A character from
    /// U+3000 on, where scripts without spaces begin, is one more word.
    fn count(&self, text: &str) -> ([u64; LANGUAGES], u64) {
        let (mut counts, mut words) = ([0; LANGUAGES], 0);
        let (mut word, mut length) = (0_u64, 0);
        for &byte in text.as_bytes().iter().chain(b" ") {
            let letter = self.letters[byte as usize];
            if letter != 0 {
                word = word << 8 | u64::from(letter);
                length += 1;
                words += u64::from(byte >= 0xe3);
                continue;
            }
            if length > 0 {
                words += 1;
                if length <= LONGEST {
                    let mut languages = self.languages[self.slot(word)];
                    while languages != 0 {
                        counts[languages.trailing_zeros() as usize] += 1;
                        languages &= languages - 1;
                    }
                }
            }
            (word, length) = (0, 0);
        }
        (counts, words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: no table, no bits.
    fn slowly(text: &str) -> Option<Lang> {
        let words: Vec<String> = text
            .split(|character: char| character.is_ascii() && !character.is_ascii_alphabetic())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let wide = text
            .chars()
            .filter(|character| *character >= '\u{3000}')
            .count();
        let of = |(language, listed): &(Lang, &str)| {
            let found = words
                .iter()
                .filter(|word| listed.split(' ').any(|each| each == **word));
            (found.count(), *language)
        };
        let counts: Vec<(usize, Lang)> = WORDS.iter().map(of).collect();
        let mut clear = counts.iter().filter(|(count, language)| {
            let others = counts.iter().filter(|(_, other)| other != language);
            let most = others.map(|(count, _)| *count).max();
            *count >= 10
                && count * 100 >= (words.len() + wide) * 28
                && most.is_none_or(|other| count * 2 >= other * 3)
        });
        clear.next().map(|(_, language)| *language)
    }

    fn any_text() -> impl Strategy<Value = String> {
        let listed = prop::sample::select(WORDS).prop_map(|(_, words)| words);
        (
            prop::collection::vec(listed, 1..3),
            prop::collection::vec((0_usize..2, 0_usize..99, 0_u8..4), 0..60),
        )
            .prop_map(|(lists, chosen)| {
                let word = |(list, at, kind): (usize, usize, u8)| {
                    let words: Vec<&str> = lists[list % lists.len()].split(' ').collect();
                    match kind {
                        0 => "ström1x-Zz語".to_owned(),
                        1 => words[at % words.len()].to_ascii_uppercase(),
                        _ => words[at % words.len()].to_owned(),
                    }
                };
                chosen.into_iter().map(|each| word(each) + " ").collect()
            })
    }

    proptest! {
        #[test]
        fn the_table_gives_what_the_definition_says(text in any_text(), tail in "\\PC{0,20}") {
            prop_assert_eq!(clear_language(&text), slowly(&text));
            let text = text + &tail;
            prop_assert_eq!(clear_language(&text), slowly(&text));
        }
    }

    #[test]
    fn every_word_is_found_in_its_languages_alone() {
        const { assert!(LANGUAGES <= 64) };
        let every: Vec<&str> = WORDS
            .iter()
            .flat_map(|(_, words)| words.split(' '))
            .collect();
        for word in every {
            assert!((1..=LONGEST).contains(&word.len()), "{word}");
            let (counts, words) = TABLE.count(word);
            let expected = WORDS
                .iter()
                .map(|(_, of)| u64::from(of.split(' ').any(|each| each == word)));
            assert_eq!(counts.to_vec(), expected.collect::<Vec<_>>(), "{word}");
            assert_eq!(words, 1);
        }
        let used = TABLE.words.iter().filter(|&&word| word != 0).count();
        assert!(used * 2 <= SLOTS, "{used}");
    }

    #[test]
    fn words_are_counted_whatever_their_case_and_the_marks_around_them() {
        let (counts, words) = TABLE.count("The (of) AND,to:is\nthough abcdefghthe 12 x-it's");
        assert_eq!((counts[0], words), (6, 10));
        assert_eq!(TABLE.count("  1 2\n"), ([0; LANGUAGES], 0));
    }

    #[test]
    fn share_number_and_distance_are_asked() {
        let text = |english: usize, german: usize, other: usize| {
            "with ".repeat(english) + &"nicht ".repeat(german) + &"zzz ".repeat(other)
        };
        assert_eq!(clear_language(&text(10, 0, 0)), Some(Lang::Eng));
        assert_eq!(clear_language(&text(9, 0, 0)), None);
        assert_eq!(clear_language(&text(28, 0, 72)), Some(Lang::Eng));
        assert_eq!(clear_language(&text(28, 0, 73)), None);
        assert_eq!(clear_language(&text(30, 20, 0)), Some(Lang::Eng));
        assert_eq!(clear_language(&text(30, 21, 0)), None);
        assert_eq!(clear_language(&text(20, 31, 0)), Some(Lang::Deu));
        assert_eq!(clear_language(""), None);
    }
}
