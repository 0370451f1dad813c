"""Orders in free text -> JSON with five fields: a few hundred made examples for fine-tuning, and their score.

    python orders.py make data                                   # data/chats.jsonl, data/held_out.jsonl
    python orders.py score data/held_out.jsonl FOLDER [FOLDER..] # share of right fields of models, held-out orders

They take the place of the few hundred examples that you have yourself. Held-out orders are worded in ways, and name
customers and products, that no training example has. `score` needs stategpt[train].
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FIELDS = ("item", "quantity", "customer", "city", "due")
INSTRUCTION = "Write the order as JSON with the keys item, quantity, customer, city, due (month-day)."
TRAIN, HELD_OUT = 400, 120

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_ITEMS = {
    "train": (
        *("green tea", "printer paper", "oak shelves", "desk lamps", "wool blankets", "olive oil", "copper wire"),
        *("garden hoses", "rice noodles", "brass hinges", "paint rollers", "coffee filters", "rubber gloves"),
    ),
    "held_out": ("ceramic bowls", "bicycle chains", "black pepper", "steel screws", "linen towels", "floor mats"),
}
_CUSTOMERS = {
    "train": (
        *("Maria Lopez", "Tom Becker", "Aisha Khan", "Peter Novak", "Lucy Grant", "Omar Haddad", "Ingrid Dahl"),
        *("Kenji Mori", "Rosa Silva", "David Cohen", "Nina Petrova", "Sam Wright", "Elena Rossi", "Paul Martin"),
    ),
    "held_out": ("Hanna Berg", "Victor Lang", "Sofia Costa", "James Doyle", "Yuki Tanaka", "Carla Weiss"),
}
_CITIES = {
    "train": (
        *("Lisbon", "Hamburg", "Leeds", "Prague", "Boston", "Cairo", "Oslo", "Osaka", "Porto", "Denver"),
        *("Kyiv", "Bristol", "Turin", "Lyon", "Ghent"),
    ),
    "held_out": ("Vienna", "Dublin", "Madrid", "Seattle", "Helsinki", "Krakow"),
}
_WORDED = {
    "train": (
        "Please send {quantity} {item} to {customer} in {city} by {date}.",
        "Hello, {customer} from {city} here. I need {quantity} {item}, and they must arrive by {date}.",
        "New order: {quantity} x {item}. Customer {customer}, {city}. Due {date}.",
        "We would like {quantity} {item} before {date}. Deliver to {city}, attention {customer}.",
        "{customer} called again: {quantity} {item} for the shop in {city}, no later than {date}.",
        "By {date} we have to ship {quantity} {item} to {city}; the customer is {customer}.",
        "Could you get {quantity} {item} to our {city} office? {customer} is waiting for them until {date}.",
        "Order from {city}: {customer} wants {quantity} {item}. The date is {date}.",
        "This is urgent. {quantity} {item} for {customer}, {city}, {date}.",
        "I am {customer}. My address in {city} has not changed. {quantity} {item} by {date}, thank you!",
    ),
    "held_out": (
        "Good morning, it's {customer}. Ship me {quantity} {item}, please; I will be back in {city} on {date}.",
        "The {city} branch has run out of {item}. {customer} asks us to deliver {quantity} of them until {date}.",
        "Deadline {date}! {quantity} {item} are to go to {customer}, who has moved to {city}.",
        "For {customer} ({city}): {quantity} {item}, to be there on {date} at the latest.",
    ),
}


def order(side: str, number: int) -> tuple[str, dict[str, Any]]:
    """Text and fields of made order `number` of a side, "train" or "held_out"."""
    draw = random.Random(f"{side} {number}")
    month, day = draw.randrange(12), draw.randrange(1, 29)
    fields = {
        "item": draw.choice(_ITEMS[side]),
        "quantity": draw.randrange(2, 400),
        "customer": draw.choice(_CUSTOMERS[side]),
        "city": draw.choice(_CITIES[side]),
        "due": f"{month + 1:02}-{day:02}",
    }
    date = draw.choice((f"{_MONTHS[month]} {day}", f"{day} {_MONTHS[month]}"))
    return draw.choice(_WORDED[side]).format(**fields, date=date), fields


def make(folder: Path) -> None:
    """Writes the training conversations and the held-out prompts with their references."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "chats.jsonl").open("w", encoding="utf-8") as chats:
        for number in range(TRAIN):
            text, fields = order("train", number)
            asked = {"role": "user", "content": f"{INSTRUCTION}\n\n{text}"}
            messages = [asked, {"role": "assistant", "content": json.dumps(fields)}]
            chats.write(json.dumps({"messages": messages}) + "\n")
    with (folder / "held_out.jsonl").open("w", encoding="utf-8") as prompts:
        for number in range(HELD_OUT):
            text, fields = order("held_out", number)
            prompts.write(json.dumps({"prompt": f"{INSTRUCTION}\n\n{text}", "reference": json.dumps(fields)}) + "\n")


def right_fields(answer: str, reference: str) -> float:
    """Share of the fields of `reference` that the first JSON object of `answer` has; 0 where there is none."""
    start = answer.find("{")
    if start < 0:
        return 0.0
    try:
        found, _ = json.JSONDecoder().raw_decode(answer[start:])
    except (json.JSONDecodeError, RecursionError):
        return 0.0
    wanted: Mapping[str, Any] = json.loads(reference)
    return sum(str(found.get(field)) == str(wanted[field]) for field in FIELDS) / len(FIELDS)


def scores(folder: Path, records: Sequence[Mapping[str, str]]) -> tuple[list[float], list[str]]:
    """`right_fields` of the model's most likely answers, and the answers."""
    import stategpt as sg

    tok = sg.Tokenizer.load(folder)
    chat = sg.ChatTemplate.load(folder)
    engine = sg.Engine(sg.GPT.from_pretrained(folder), tok, chat)
    prompts = [chat.prompt(record["prompt"]) for record in records]
    answers = [each.text for each in engine.generate(prompts, temperature=0.0, max_tokens=96)]
    pairs = zip(answers, records, strict=True)
    return [right_fields(answer, record["reference"]) for answer, record in pairs], answers


def score(prompts: Path, folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Measures each model on the held-out orders and prints a line for it; 95 % intervals over orders."""
    from dataclasses import asdict

    from stategpt.evaluate.statistics import cluster_bootstrap, paired_difference

    records = [json.loads(line) for line in prompts.read_text(encoding="utf-8").splitlines()]
    clusters = [str(number) for number in range(len(records))]
    found: list[dict[str, Any]] = []
    first: list[float] = []
    for folder in folders:
        values, answers = scores(folder, records)
        fields = cluster_bootstrap(values, clusters, seed=0)
        whole = sum(value == 1 for value in values)
        line: dict[str, Any] = {"model": str(folder), "right_fields": asdict(fields), "all_right": whole}
        said = f"{folder}: {fields.mean:.3f} ({fields.low:.3f} to {fields.high:.3f}) of the fields, {whole} of "
        said += f"{len(records)} orders entirely right"
        if first:
            gain = paired_difference(values, first, clusters, seed=0)
            line["minus_first"] = asdict(gain)
            said += f"; {gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) to the first model"
        first = first or values
        print(said)
        found.append({**line, "orders": len(records), "example": answers[0]})
    return found


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make", help="write the examples").add_argument("folder", type=Path)
    scoring = commands.add_parser("score", help="measure models on held-out orders")
    scoring.add_argument("prompts", type=Path, help="held_out.jsonl")
    scoring.add_argument("models", type=Path, nargs="+", help="model folders; others are compared with the first")
    scoring.add_argument("--out", type=Path, help="JSON with the figures")
    given = parser.parse_args()
    if given.command == "make":
        make(given.folder)
        return
    found = score(given.prompts, given.models)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
