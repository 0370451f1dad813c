"""Two base models at equal training compute: the smaller one reads more tokens. Needs stategpt[train].

    python compare.py runs/smaller_but_longer        # about 7 minutes on two cores

The talk's example is LLaMA-65B (21 tokens per parameter) against GPT-3 175B (1.7): "size is not power". Here both
models are pretrained on the Python library of this interpreter with the same number of floating-point operations
(`config.cost`: 6N + attention a token), each under several seeds, and scored on the same test documents. The folder
then holds a run for each model and seed, `comparison.json` and `comparison.png`. What is printed follows from the
measured difference and its interval.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import stategpt as sg
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import CorpusConfig, GatesConfig, GPTConfig, OptimConfig, RunConfig, TokenizerConfig
from stategpt.config.cost import forward_flops_per_token, training_flops_per_token
from stategpt.config.dial import LEARNING_RATE_TIMES_WIDTH
from stategpt.evaluate.base_model import NATS_PER_BIT
from stategpt.evaluate.bits import document_nats
from stategpt.evaluate.statistics import Interval, seeded_bootstrap
from stategpt.report.run_files import RunFiles
from stategpt.stages.context import StageContext

VOCABULARY, ROW_TOKENS, BATCH_ROWS = 1024, 128, 8
SHAPES = {
    "larger": {"depth": 6, "width": 192, "heads": 6, "kv_heads": 2, "head_dim": 32, "mlp_width": 512},
    "smaller": {"depth": 3, "width": 96, "heads": 3, "kv_heads": 1, "head_dim": 32, "mlp_width": 256},
}
VALIDATED = 12
"""Points of a loss curve, evenly spaced in the logarithm of the steps."""


@dataclass(frozen=True)
class Scored:
    """A trained model on the test documents.

    Attributes:
        bits: of each document, its end included.
        curve: (training operations so far, validation loss in nats per token).
        seconds: of the training, with its validations.
    """

    bits: NDArray[np.float64]
    curve: list[tuple[float, float]]
    seconds: float


def config_of(name: str, flops: float, seed: int, corpus: CorpusConfig) -> RunConfig:
    """The run that pretrains model `name` with `flops` operations, to the next whole step."""
    base = sg.recipes.tiny_cpu()
    model = GPTConfig(vocab_size=VOCABULARY, context_tokens=2 * ROW_TOKENS, **SHAPES[name])
    steps = round(flops / training_flops_per_token(model, ROW_TOKENS) / (ROW_TOKENS * BATCH_ROWS))
    if steps < 1:
        raise SystemExit(f"--flops {flops:g} is less than one step of the {name} model; give more")
    rate = float(f"{LEARNING_RATE_TIMES_WIDTH['pretrain'] / model.width:.3g}")  # the dial's rule, for both
    warmup = max(1, min(40, steps // 10))
    curve = {round(math.exp(point * math.log(steps) / (VALIDATED - 1))) for point in range(VALIDATED)}
    return replace(
        base,
        name=f"{name}-{seed}",
        seed=seed,
        stages=("prepare", "pretrain"),
        corpus=corpus,
        tokenizer=TokenizerConfig(vocab_size=VOCABULARY, pattern="gpt4"),
        model=model,
        pretrain=replace(
            base.pretrain,
            tokens=steps * ROW_TOKENS * BATCH_ROWS,
            optim=OptimConfig(learning_rate=rate, warmup_steps=warmup, flat_fraction=0.4, final_fraction=0.02),
            sample_at=(*sorted(curve - {steps}), "end"),
            sample_prompts=("Return",),
            sample_tokens=8,
        ),
        gates=GatesConfig(required=()),
    )


def scored(config: RunConfig, out: Path, test_tokens: int) -> tuple[Scored, list[str], NDArray[np.float64]]:
    """Trains a model (or finds it trained) and scores it; also the groups and the bytes of the test documents."""
    sg.run(config, out)
    context = StageContext.of(config, RunFolder(out))
    model, corpus = context.load_model("base"), context.corpus()
    held = [
        document_nats(model, context.tok, corpus.sources[source], test_tokens, ROW_TOKENS)
        for source in sorted(config.proportions)
    ]
    step_flops = training_flops_per_token(config.model, ROW_TOKENS) * config.step_tokens
    files = RunFiles(out)
    curve = [(line.step * step_flops, line.nats_per_token) for line in files.validation_losses()]
    seconds = files.seconds()["base"]
    bits = np.concatenate([each.nats for each in held]) / NATS_PER_BIT
    size = np.concatenate([each.bytes for each in held]).astype(np.float64)
    return Scored(bits, curve, seconds), [group for each in held for group in each.groups], size


def interval(bits_SN: NDArray[np.float64], size_N: NDArray[np.float64], groups: Sequence[str]) -> Interval:
    """Bits per byte of all documents together, [S seeds, N documents], for another seed and other groups.

    The ratio of sums is linearized about its value R: the mean of R + (bits - R size) / mean size (Cochran 1977,
    Sampling Techniques, section 6.3), so that long documents do not widen the interval by being long.
    """
    ratio_S1 = bits_SN.sum(axis=1, keepdims=True) / size_N.sum()
    return seeded_bootstrap(ratio_S1 + (bits_SN - ratio_S1 * size_N) / size_N.mean(), groups, seed=0)


def verdict(difference: Interval) -> str:
    """What the interval of smaller minus larger, in bits per byte, shows."""
    shown = f"{difference.mean:+.3f} bits per byte ({difference.low:+.3f} to {difference.high:+.3f})"
    if difference.high < 0:
        return f"At equal compute the smaller model that reads more is better: {shown}."
    if difference.low > 0:
        return f"At equal compute the larger model that reads less is better: {shown}."
    return f"At equal compute no difference is shown: {shown}."


def plot(curves: dict[str, list[list[tuple[float, float]]]], labels: dict[str, str], path: Path) -> None:
    """Validation loss against training operations: a line for each seed, both axes logarithmic."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for (name, runs), color in zip(curves.items(), ("#c4492d", "#2b6cb0"), strict=True):
        for number, curve in enumerate(runs):
            flops, loss = zip(*(point for point in curve if point[0] > 0), strict=True)
            axes.plot(flops, loss, color=color, linewidth=1.4, alpha=0.8, label="" if number else labels[name])
    axes.set(xscale="log", yscale="log", xlabel="training operations", ylabel="validation loss, nats per token")
    axes.yaxis.set_major_formatter("{x:.1f}")
    axes.yaxis.set_minor_formatter("{x:.1f}")
    axes.grid(color="#e1e5ea", linewidth=0.6)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=160)


def main() -> None:
    """Trains, scores, compares, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--flops", type=float, default=8e12, help="operations of each training (%(default)g)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each model (%(default)d)")
    parser.add_argument("--test-tokens", type=int, default=60_000, help="of each source (%(default)d)")
    parser.add_argument("--corpus", nargs="*", default=[], help="folders of Python files instead of the library")
    given = parser.parse_args()

    corpus = sg.recipes.tiny_cpu().corpus
    if given.corpus:
        corpus = replace(corpus, paths=tuple(given.corpus), validation_share=0.1, test_share=0.3)
    runs: dict[str, list[Scored]] = {}
    groups: list[str] = []
    size = np.zeros(0)
    for seed in range(given.seeds):
        for name in SHAPES:
            config = config_of(name, given.flops, seed, corpus)
            one, groups, size = scored(config, given.out / config.name, given.test_tokens)
            runs.setdefault(name, []).append(one)

    bits = {name: np.stack([one.bits for one in each]) for name, each in runs.items()}
    difference = interval(bits["smaller"] - bits["larger"], size, groups)
    models: dict[str, Any] = {}
    for name, each in runs.items():
        config = config_of(name, given.flops, 0, corpus)
        models[name] = {
            "parameters": config.model.parameters,
            "tokens": config.pretrain_tokens,
            "tokens_per_parameter": config.pretrain_tokens / config.model.parameters,
            "flops": training_flops_per_token(config.model, ROW_TOKENS) * config.pretrain_tokens,
            "forward_flops_per_token": forward_flops_per_token(config.model, ROW_TOKENS),
            "seconds": [round(one.seconds, 1) for one in each],
            "bits_per_byte": asdict(interval(bits[name], size, groups)),
        }
    result = {
        "models": models,
        "smaller_minus_larger_bits_per_byte": asdict(difference),
        "verdict": verdict(difference),
        "seeds": given.seeds,
        "test_documents": len(size),
        "test_bytes": int(size.sum()),
    }
    (given.out / "comparison.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    labels = {
        name: f"{model['parameters'] / 1e6:.2f} M parameters, {model['tokens'] / 1e6:.2f} M tokens"
        for name, model in models.items()
    }
    plot({name: [one.curve for one in each] for name, each in runs.items()}, labels, given.out / "comparison.png")
    for name, model in models.items():
        bits_per_byte = model["bits_per_byte"]
        print(
            f"{name:8} {labels[name]}, {model['flops']:.3g} operations, "
            f"{bits_per_byte['mean']:.3f} ({bits_per_byte['low']:.3f} to {bits_per_byte['high']:.3f}) bits per byte"
        )
    print(result["verdict"])
    print(f"written: {given.out / 'comparison.json'}, {given.out / 'comparison.png'}")


if __name__ == "__main__":
    main()
