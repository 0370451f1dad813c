"""Reads pairs of a chosen and a rejected dialogue as rankings of two completions."""

from __future__ import annotations

from stategpt.data.formats.records import RecordPlace, StrPath, string_field, with_places
from stategpt.data.lines import BadLine, Line, Source, read_lines
from stategpt.data.rankings import Rankings, Rejected
from stategpt.errors import RankingError

_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


def read_chosen_rejected(path: StrPath) -> Rankings:
    """Dialogues {"chosen", "rejected"}, JSONL (also .gz and .zst), as in Anthropic's hh-rlhf (https://arxiv.org/abs/2204.05862).

    Each holds turns headed `Human:` and `Assistant:`; both must agree up to the last answer, which is the completion.
    The prompt of a single question is the question, of a longer dialogue the dialogue. Records that differ earlier, or
    are malformed, are rejected by line and code (`different_prompts`, `no_assistant_turn`, and those of `Rankings`).

    Raises:
        StorageError: the file cannot be read, or is a folder, FIFO or device; MissingFile where it does not exist.
        RankingError: it is a damaged `.gz` or `.zst`, or unpacks to far more than text does.
    """
    records, places, rejected = [], [], []
    blank = 0
    with Source(path, RankingError) as source:
        for line in read_lines(source):
            if line.is_blank:
                blank += 1
                continue
            place = RecordPlace(line.number, line.byte_offset)
            try:
                records.append(_dialogue_record(line))
                places.append(place)
            except BadLine as bad:
                rejected.append(Rejected(*place, bad.code, bad.message))
    return with_places(Rankings.read(records), places, rejected, blank)


def _dialogue_record(line: Line) -> dict[str, object]:
    row = line.json_object()
    prompts, texts = [], []
    for key in ("chosen", "rejected"):
        prompt, turn, answer = string_field(row, key).rpartition(_ASSISTANT)
        if not turn:
            raise BadLine("no_assistant_turn", f"{key} has no turn headed {_ASSISTANT.strip()!r}")
        prompts.append(prompt)
        texts.append(answer.strip())
    if prompts[0] != prompts[1]:
        raise BadLine("different_prompts", "chosen and rejected differ before their last answer")
    completions = [{"text": text, "rank": rank} for rank, text in enumerate(texts, 1)]
    return {"id": str(line.number), "prompt": _question(prompts[0]), "completions": completions}


def _question(dialogue: str) -> str:
    """A dialogue of one question without its heading; a longer one as it is."""
    _, heading, question = dialogue.rpartition(_HUMAN)
    single = heading and dialogue.count(_HUMAN) == 1 and _ASSISTANT not in dialogue
    return (question if single else dialogue).strip()
