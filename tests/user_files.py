"""Files as a user has them: Markdown, JSON lines, chats of two formats, preferences, prompts. All texts are made up."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_WORDS = (
    *("river", "stone", "garden", "market", "winter", "letter", "engine", "bridge", "candle", "doctor", "island"),
    *("window", "paper", "copper", "yellow", "silent", "narrow", "gentle", "quick", "heavy", "open", "build"),
    *("carry", "find", "leave", "repair", "answer", "travel", "learn"),
)


class Writer:
    """Writes made-up files below a folder; the same seed writes the same."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self._random = folder, random.Random(seed)

    def word(self) -> str:
        """A word."""
        return self._random.choice(_WORDS)

    def sentence(self, words: int) -> str:
        """A sentence of so many words."""
        return " ".join(self.word() for _ in range(words)).capitalize() + "."

    def markdown(self, count: int) -> None:
        """docs/, half of it one folder deeper."""
        for number in range(count):
            path = self.folder / "docs" / ("deeper" if number % 2 else ".") / f"page{number}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# Page {number}\n\n" + "\n\n".join(self.sentence(9) for _ in range(12)) + "\n")

    def notes(self, count: int) -> None:
        """notes.jsonl, the text under "body"."""
        self.lines(
            "notes.jsonl", ({"id": n, "body": " ".join(self.sentence(8) for _ in range(8))} for n in range(count))
        )

    def chats(self, count: int) -> None:
        """chats.jsonl: messages with a system message and two turns."""
        self.lines("chats.jsonl", (self._chat(number) for number in range(count)))

    def _chat(self, number: int) -> dict[str, Any]:
        texts = [
            ("system", "Be short."),
            ("user", f"What is the {self.word()} number {number}?"),
            ("assistant", self.sentence(5)),
            ("user", "And then?"),
            ("assistant", self.sentence(4)),
        ]
        return {"messages": [{"role": role, "content": content} for role, content in texts]}

    def alpaca(self, count: int) -> None:
        """alpaca.json, one array."""
        rows = [
            {"instruction": f"Describe the {self.word()} {number}", "input": "", "output": self.sentence(5)}
            for number in range(count)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "alpaca.json").write_text(json.dumps(rows))

    def preferences(self, count: int) -> None:
        """hh.jsonl: chosen and rejected dialogues; the longer answer is the better one."""
        self.lines("hh.jsonl", (self._preference(number) for number in range(count)))

    def _preference(self, number: int) -> dict[str, str]:
        asked = f"\n\nHuman: Tell me of the {self.word()} {number}\n\nAssistant:"
        return {"chosen": f"{asked} {self.sentence(6)}", "rejected": f"{asked} No {self.word()}."}

    def lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """A file of JSON lines."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def everything(self, count: int) -> Path:
        """All of the above."""
        self.markdown(count)
        self.notes(count)
        self.chats(count)
        self.alpaca(count)
        self.preferences(count)
        return self.folder
