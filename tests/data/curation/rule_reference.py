"""The quality rules as they are defined, written to be read and not to be fast."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

SPACES = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000"
)
"""Unicode's White_Space."""
TERMINAL = tuple(".!?\"'”’»…。！？؟।۔")
SENTENCE_ENDS = ".!?…。！？؟।۔"
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def words_of(text: str) -> list[str]:
    """Runs of characters that are not white space."""
    return [word for word in re.split(f"[{re.escape(SPACES)}]+", text) if word]


def lines_of(text: str) -> list[str]:
    """Lines that are not blank, without white space around them."""
    return [line for line in (line.strip(SPACES) for line in text.split("\n")) if line]


def paragraphs_of(text: str) -> list[str]:
    """Runs of such lines without a blank one between them."""
    paragraphs: list[list[str]] = [[]]
    for line in text.split("\n"):
        if stripped := line.strip(SPACES):
            paragraphs[-1].append(stripped)
        elif paragraphs[-1]:
            paragraphs.append([])
    return ["\n".join(lines) for lines in paragraphs if lines]


def share(part: float, whole: float) -> float:
    """A share of nothing is 0."""
    return part / whole if whole else 0.0


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts occurred before, and their characters."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count, characters = count + 1, characters + len(part)
        seen.add(part)
    return count, characters


def top_ngram(words: Sequence[str], n: int) -> int:
    """Characters of the most frequent n-gram, single spaces included, times its count; 0 if none occurs twice."""
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    if not counts:
        return 0
    ngram, count = counts.most_common(1)[0]
    return len(" ".join(ngram)) * count if count > 1 else 0


def duplicate_ngrams(words: Sequence[str], n: int) -> int:
    """Characters of words in n-grams that occurred before; after one of them the next starts behind it."""
    seen: set[tuple[str, ...]] = set()
    characters = place = 0
    while place + n <= len(words):
        ngram = tuple(words[place : place + n])
        if ngram in seen:
            characters += sum(map(len, ngram))
            place += n
        else:
            seen.add(ngram)
            place += 1
    return characters


def without_edges(word: str) -> str:
    """The word from its first to its last letter or digit."""
    places = [place for place, each in enumerate(word) if each.isalnum()]
    return word[places[0] : places[-1] + 1] if places else ""


def rule_values(text: str) -> dict[str, float]:
    """The value of every rule of whole texts."""
    words, lines, paragraphs = words_of(text), lines_of(text), paragraphs_of(text)
    bare = {ascii_lower(without_edges(word)) for word in words}
    line_count, line_characters = duplicates(lines)
    paragraph_count, paragraph_characters = duplicates(paragraphs)
    size = len(text)
    length = share(sum(map(len, words)), len(words))
    quality: dict[str, float] = {
        "words_min": len(words),
        "words_max": len(words),
        "word_length_min": length,
        "word_length_max": length,
        "hashes": share(text.count("#"), len(words)),
        "ellipses": share(text.count("...") + text.count("…"), len(words)),
        "bullet_lines": share(sum(line.startswith(("•", "-")) for line in lines), len(lines)),
        "ellipsis_lines": share(sum(line.endswith(("...", "…")) for line in lines), len(lines)),
        "alphabetic_words": share(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "stop_words": len(STOP_WORDS & bare),
    }
    repetition: dict[str, float] = {
        "duplicate_lines": share(line_count, len(lines)),
        "duplicate_paragraphs": share(paragraph_count, len(paragraphs)),
        "duplicate_line_characters": share(line_characters, size),
        "duplicate_paragraph_characters": share(paragraph_characters, size),
        **{f"top_{n}_grams": share(top_ngram(words, n), size) for n in (2, 3, 4)},
        **{f"duplicate_{n}_grams": share(duplicate_ngrams(words, n), size) for n in range(5, 11)},
    }
    fineweb = {
        "punctuated_lines": share(sum(line.endswith(TERMINAL) for line in lines), len(lines)),
        "duplicate_line_characters": share(line_characters, size - text.count("\n")),
        "short_lines": share(sum(len(line) <= 30 for line in lines), len(lines)),
    }
    return {
        **{f"gopher_quality_{name}": float(value) for name, value in quality.items()},
        **{f"gopher_repetition_{name}": float(value) for name, value in repetition.items()},
        **{f"fineweb_{name}": float(value) for name, value in fineweb.items()},
        "length_characters_min": float(size),
        "length_characters_max": float(size),
    }


def sentences(line: str) -> int:
    """Parts of a line that white space after a sentence end (and closing marks) separates."""
    closing = re.escape("\"')]”’»")
    spaces = re.escape(SPACES)
    return len([part for part in re.split(f"(?<=[{SENTENCE_ENDS}])[{closing}]*[{spaces}]+", line) if part])


def ascii_lower(text: str) -> str:
    """Lower case of A to Z alone."""
    return "".join(each.lower() if each.isascii() else each for each in text)


def c4(text: str) -> tuple[str | None, str | None, Counter[str]]:
    """The C4 rules with their published limits: the text that stays or the rule that removes it, and lines by rule."""
    kept, count, blank = "", 0, False
    removed: Counter[str] = Counter()
    for line in text.split("\n"):
        line = line.strip(SPACES)
        if not line:
            blank = True
            continue
        words = words_of(line)
        if any(len(word) > 1000 for word in words):
            removed["c4_word_characters_max"] += 1
            continue
        line = re.sub(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", "", line).strip(SPACES)
        lower = ascii_lower(line)
        if not line.endswith(TERMINAL) or line.endswith(("...", "…")):
            removed["c4_terminal_punctuation"] += 1
        elif len(words) < 3:
            removed["c4_line_words_min"] += 1
        elif "lorem ipsum" in lower:
            return None, "c4_lorem_ipsum", removed
        elif "javascript" in lower:
            removed["c4_javascript_lines"] += 1
        elif "{" in line:
            return None, "c4_curly_brace", removed
        elif any(policy in lower for policy in POLICIES):
            removed["c4_policy_lines"] += 1
        else:
            count += sentences(line)
            kept += ("\n\n" if blank else "\n") * bool(kept) + line
            blank = False
    return (None, "c4_sentences_min", removed) if count < 5 else (kept, None, removed)
