#!/usr/bin/env python3
"""The tokenizer beside its peers: equal ids first, then time, memory and merges.

    python benches/peers/tokenizer.py --quick        ten minutes on two cores, after what it downloads
    python benches/peers/tokenizer.py                the whole record

It makes a virtual environment with the peers and our wheel, builds the corpora from public packages, runs every
measurement in a process of its own, in rounds that visit all libraries, and writes DATE-tokenizer-*.json and the same
as a table into benches/records. What it makes stays in .cache/peers; a run that is broken off goes on where it was.
Needs Python >= 3.11 and what builds the wheel (see the README). Debian's apt gives the corpora, else PyPI.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import corpora
import environment
import record
import vocabularies
from jobs import AXES, FULL, QUICK, Plan, jobs, scaled
from runner import Runner

CACHE = environment.ROOT / ".cache" / "peers"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less text, one vocabulary, no training on 1 GB")
    parser.add_argument(
        "--out", type=Path, default=environment.ROOT / "benches" / "records", help="folder of the record"
    )
    parser.add_argument("--only", default=",".join(AXES), help=f"axes, of {','.join(AXES)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=30, help="rounds of processes that take turns (paired)")
    parser.add_argument("--fresh-turns", type=int, default=15, help="fresh processes of each library (paired)")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual amount of text and time")
    parser.add_argument(
        "--vocabularies", default="cl100k", help="some of cl100k,llama3,o200k; encode and memory use all"
    )
    parser.add_argument("--corpora", type=Path, help="folder with prose.txt, code.txt and multi.txt to use instead")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--wheel", type=Path, help="our wheel, instead of building it from this checkout")
    parser.add_argument("--machine", help="name of this machine in the record's file name")
    parser.add_argument("--latest", action="store_true", help="the peers' newest versions, not those tested")
    parser.add_argument("--fresh", action="store_true", help="measure again what is kept from a run before")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    cache: Path = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    made = environment.make(cache, options.latest, options.wheel, say)
    for name, reason in made.missing.items():
        say(f"{name} cannot be installed: {reason}")
    size = scaled(QUICK if options.quick else FULL, options.scale)
    names = tuple(options.vocabularies.split(","))
    texts = _corpora(options, cache)
    say(f"vocabularies {', '.join(dict.fromkeys((*names, 'llama3')))}")
    sources = vocabularies.build([*dict.fromkeys((*names, "llama3"))], cache / "vocabularies", environment.unpack)
    plan = Plan(
        corpora={kind: corpus.path for kind, corpus in texts.items()},
        vocabularies=str(cache / "vocabularies"),
        folder=cache / "training",
        names=names,
        turns=options.turns,
        fresh_turns=options.fresh_turns,
        rounds=options.rounds,
        quick=options.quick,
        **size,
    )
    chosen = [axis for axis in AXES if axis in options.only.split(",")]
    wanted = [job for axis in chosen for job in jobs(plan, axis) if _installed(job, made.missing)]
    _training_files(wanted, cache, texts)
    kept = cache / f"results-{_run_name(made, plan)}.jsonl"
    if options.fresh:
        kept.unlink(missing_ok=True)
    before = record.load_average()
    entries = Runner(made.python, kept).run(wanted)
    made_record = record.build(entries, plan, made, texts, sources, before)
    paths = record.write(made_record, options.out, options.quick, options.machine)
    print(record.table(made_record))
    print(record.paired_table(made_record))
    say(f"written: {', '.join(map(str, paths))}")


def _corpora(options: argparse.Namespace, cache: Path) -> dict[str, corpora.Corpus]:
    if options.corpora:
        return corpora.existing(options.corpora.resolve())
    if options.quick and not (cache / "corpora" / "multi.json").exists():
        return corpora.build(cache / "corpora-quick", 16, True, say)
    return corpora.build(cache / "corpora", 100, False, say)


def _installed(job: dict[str, object], missing: dict[str, str]) -> bool:
    return str(job["library"]).removesuffix(" files") not in missing


def _training_files(wanted: list[dict[str, object]], cache: Path, texts: dict[str, corpora.Corpus]) -> None:
    """The same documents as one file, without and with separators, for trainers that read files."""
    (cache / "training").mkdir(exist_ok=True)
    for job in wanted:
        if job["job"] != "train" or Path(str(job["plain"])).exists():
            continue
        if job["kind"] == "large":
            say("1 GB of text for training")
            held = [Path(corpus.path) for corpus in texts.values()]
            corpora.write_large(Path(str(job["plain"])), held, cache / "corpora", float(str(job["megabytes"])), say)
            continue
        with open(str(job["corpus"]), "rb") as file:
            data = file.read(int(float(str(job["megabytes"])) * 1e6)).decode("utf-8", "ignore").encode()
        Path(str(job["separated"])).write_bytes(data)
        Path(str(job["plain"])).write_bytes(data.replace(corpora.SEPARATOR.encode(), b""))


def _run_name(made: environment.Environment, plan: Plan) -> str:
    """Results are kept for as long as nothing that they depend on has changed."""
    engine = record.engine_hash(made.python)
    text = json.dumps([made.versions, engine, plan.__dict__], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
