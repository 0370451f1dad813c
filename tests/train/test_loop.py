"""The loop: accumulation, resume, non-finite steps, interruption."""

import json
import os
import signal
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from safetensors.torch import load_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from stategpt.artifacts import append_line, read_lines  # noqa: E402
from stategpt.artifacts.measurement_kinds import METRICS_LINE  # noqa: E402
from stategpt.config import OptimConfig  # noqa: E402
from stategpt.config.optimizers import OPTIMIZERS  # noqa: E402
from stategpt.errors import CorruptArtifact, ForeignArtifact, TrainingDiverged  # noqa: E402
from stategpt.train.loop import Hook, LoopSettings, Loss, fit  # noqa: E402
from stategpt.train.metrics import early_end  # noqa: E402
from stategpt.train.schedule import learning_rate_at  # noqa: E402


class Regression:
    """Least squares on rows that are a function of the step; a micro-batch is (inputs, targets)."""

    name = "regression"
    loss_unit = "loss_per_row"

    def __init__(self, model: nn.Linear, steps: int, micro_batches: int = 1, bad_steps: frozenset[int] = frozenset()):
        self.model, self.steps, self.micro_batches, self.bad_steps = model, steps, micro_batches, bad_steps

    def updates(self, step: int) -> Iterable[Sequence[tuple[Tensor, Tensor]]]:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(12, 3, generator=generator)
        y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
        if step in self.bad_steps:
            y = y * float("nan")
        # Unequal micro-batches: a mean of means would differ from the mean.
        cuts = [0, 12] if self.micro_batches == 1 else [0, 1, 4, 12]
        yield [(x[a:b], y[a:b]) for a, b in pairwise(cuts)]

    def weight(self, batch: tuple[Tensor, Tensor]) -> float:
        return len(batch[0])

    def tokens(self, batch: tuple[Tensor, Tensor]) -> int:
        return len(batch[0])

    def loss(self, batch: tuple[Tensor, Tensor]) -> Loss:
        return Loss((self.model(batch[0]) - batch[1]).square().sum())

    def step_metrics(self) -> dict[str, float]:
        return {}

    def ended(self) -> str:
        return ""

    def kept(self) -> dict[str, Tensor]:
        return {}


class EndsEarly(Regression):
    """Ends at `last` with the weights that step `last - 1` began with, as a policy whose KL has passed its limit."""

    def __init__(self, model: nn.Linear, steps: int, last: int):
        super().__init__(model, steps)
        self.last, self.reason = last, ""
        self.began = {name: p.detach().clone() for name, p in model.named_parameters()}

    def updates(self, step: int) -> Iterable[Sequence[tuple[Tensor, Tensor]]]:
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, parameter in parameters.items():
                if step == self.last:
                    parameter.copy_(self.began[name])
                else:
                    self.began[name].copy_(parameter)
        if step == self.last:
            self.reason = "far enough"
            return
        yield from super().updates(step)

    def step_metrics(self) -> dict[str, float]:
        return {"distance": 1.5}

    def ended(self) -> str:
        return self.reason

    def kept(self) -> dict[str, Tensor]:
        return self.began


def _model() -> nn.Linear:
    torch.manual_seed(5)
    return nn.Linear(3, 1)


def _settings(folder: Path, **changes: object) -> LoopSettings:
    values = {
        "optim": OptimConfig(learning_rate=0.05),
        "folder": folder,
        "fingerprint": "b3:test",
        "precision": "float32",
    }
    return LoopSettings(**{**values, **changes})  # type: ignore[arg-type]


def _weights(model: nn.Module) -> list[float]:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()


class StopError(Exception):
    """Ends a loop from outside, as a kill would: no checkpoint is written."""


def _stop_at(last: int) -> Hook:
    def stop(step: int) -> None:
        if step == last:
            raise StopError

    return stop


def _train(steps: int, settings: LoopSettings) -> nn.Linear:
    model = _model()
    fit(Regression(model, steps), model, settings)
    return model


def test_it_learns(tmp_path: Path) -> None:
    model = _model()
    state = fit(Regression(model, 300), model, _settings(tmp_path))
    assert state.step == 300
    assert state.tokens == 3600
    assert all(parameter.grad is None for parameter in model.parameters()), "an update's gradient is not the next one's"
    assert _weights(model)[:3] == pytest.approx([1.0, -2.0, 0.5], abs=0.05)


def test_accumulation_does_not_change_the_gradient(tmp_path: Path) -> None:
    whole, parts = _model(), _model()
    fit(Regression(whole, 20), whole, _settings(tmp_path / "whole"))
    fit(Regression(parts, 20, micro_batches=3), parts, _settings(tmp_path / "parts"))
    assert _weights(parts) == pytest.approx(_weights(whole), abs=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_is_bit_identical(tmp_path: Path, optimizer: str) -> None:
    optim = OptimConfig(learning_rate=0.005, optimizer=optimizer)
    straight = _model()
    fit(Regression(straight, 10), straight, _settings(tmp_path / "straight", optim=optim))

    settings = _settings(tmp_path / "cut", optim=optim, checkpoint_every_steps=3)
    cut, resumed = _model(), _model()
    with pytest.raises(StopError):
        fit(Regression(cut, 10), cut, settings, hook=_stop_at(7))
    fit(Regression(resumed, 10), resumed, settings)
    assert _weights(resumed) == _weights(straight)
    assert _weights(cut) != _weights(straight)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 11)), "no step is logged twice"


def test_a_task_ends_its_training_early(tmp_path: Path) -> None:
    """No step follows; the last line has the step's measurements and says that it was the end, and why is kept."""
    model, short = _model(), _model()
    seen: list[int] = []
    state = fit(EndsEarly(model, 20, last=6), model, _settings(tmp_path / "early", log_every_steps=4), seen.append)
    assert (state.step, state.ended) == (7, "far enough")
    assert seen == list(range(8))
    with pytest.raises(StopError):
        fit(Regression(short, 20), short, _settings(tmp_path / "short"), _stop_at(5))
    assert _weights(model) == _weights(short), "the weights that its last update put there"
    lines = [json.loads(line) for line in (tmp_path / "early" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 7]
    assert early_end(tmp_path / "early" / "metrics.jsonl") == lines[1]
    assert lines[1]["distance"] == 1.5
    assert early_end(tmp_path / "short" / "metrics.jsonl") is None


def test_a_task_with_no_update_at_all_ends_too(tmp_path: Path) -> None:
    model = _model()
    state = fit(EndsEarly(model, 1, last=0), model, _settings(tmp_path))
    assert (state.step, state.ended, _weights(model)) == (1, "far enough", _weights(_model()))


@pytest.mark.parametrize("cut", [6, 7])
def test_an_early_end_is_the_same_after_an_interruption(tmp_path: Path, cut: int) -> None:
    """At step 6 what the task keeps must come from the checkpoint; after step 7 the end itself."""
    straight, first, resumed = _model(), _model(), _model()
    fit(EndsEarly(straight, 20, last=6), straight, _settings(tmp_path / "straight"))
    settings = _settings(tmp_path / "cut")

    def interrupt(step: int) -> None:
        if step == cut:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(EndsEarly(first, 20, last=6), first, settings, hook=interrupt)
    state = fit(EndsEarly(resumed, 20, last=6), resumed, settings)
    assert (state.step, state.ended) == (7, "far enough")
    assert _weights(resumed) == _weights(straight)
    assert early_end(tmp_path / "cut" / "metrics.jsonl") is not None


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    """What fails after it, an evaluation or a full disk, costs no step."""
    model, again = _model(), _model()
    fit(Regression(model, 10), model, _settings(tmp_path, checkpoint_every_steps=4))
    drawn: list[int] = []
    task = Regression(again, 10)
    task.updates = drawn.append  # type: ignore[method-assign, assignment]
    assert fit(task, again, _settings(tmp_path, checkpoint_every_steps=4)).step == 10
    assert drawn == []
    assert _weights(again) == _weights(model)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    straight, resumed = _model(), _model()
    fit(Regression(straight, 10), straight, _settings(tmp_path / "straight"))
    settings = _settings(tmp_path / "damaged", checkpoint_every_steps=3)
    _train(10, settings)
    newest = tmp_path / "damaged" / "checkpoints" / "step-000010" / "model.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    fit(Regression(resumed, 10), resumed, settings)
    assert _weights(resumed) == _weights(straight)


def test_when_no_checkpoint_is_valid_it_does_not_start_afresh(tmp_path: Path) -> None:
    settings = _settings(tmp_path, checkpoint_every_steps=4)
    _train(10, settings)
    for path in tmp_path.glob("checkpoints/*/optimizer.safetensors"):
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptArtifact, match="no valid checkpoint is left"):
        _train(10, settings)


def test_another_configurations_checkpoint_is_refused(tmp_path: Path) -> None:
    _train(10, _settings(tmp_path, checkpoint_every_steps=4))
    with pytest.raises(ForeignArtifact, match="b3:other"):
        _train(10, _settings(tmp_path, fingerprint="b3:other"))


def test_a_non_finite_step_never_reaches_the_weights(tmp_path: Path) -> None:
    model = _model()
    state = fit(Regression(model, 20, bad_steps=frozenset({4, 9})), model, _settings(tmp_path))
    assert state.skipped == 2
    assert all(abs(weight) < 10 for weight in _weights(model))


def test_three_non_finite_steps_in_a_row_end_the_run(tmp_path: Path) -> None:
    model = _model()
    with pytest.raises(TrainingDiverged, match="3 steps in a row"):
        fit(Regression(model, 20, bad_steps=frozenset({4, 5, 6})), model, _settings(tmp_path))


class Minibatches(Regression):
    """Three updates a step, those in `bad_updates` not finite."""

    bad_updates: frozenset[int] = frozenset()

    def updates(self, step: int) -> Iterable[Sequence[tuple[Tensor, Tensor]]]:
        ((batch,),) = super().updates(step)
        for number in range(3):
            x, y = batch[0][number::3], batch[1][number::3]
            yield [(x, y * float("nan") if number in self.bad_updates else y)]


def test_one_bad_rollout_of_three_minibatches_is_one_bad_step(tmp_path: Path) -> None:
    model = _model()
    task = Minibatches(model, 20, bad_steps=frozenset({4, 5, 9}))
    state = fit(task, model, _settings(tmp_path))
    assert (state.step, state.skipped, state.skipped_in_a_row) == (20, 9, 0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["skipped"] for line in lines] == [0] * 4 + [3] + [6] * 4 + [9] * 11
    task = Minibatches(model, 20, bad_steps=frozenset({4, 5, 6}))
    with pytest.raises(TrainingDiverged, match=r"step 6: .*3 steps in a row"):
        fit(task, model, _settings(tmp_path / "three"))


def test_a_step_with_a_finite_update_is_a_good_one(tmp_path: Path) -> None:
    model = _model()
    task = Minibatches(model, 5)
    task.bad_updates = frozenset({0, 2})
    assert fit(task, model, _settings(tmp_path)).skipped == 10
    assert _weights(model) != _weights(_model())


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_at_a_step_border_with_a_checkpoint(
    tmp_path: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    model = _model()
    before = signal.getsignal(number)

    def interrupt(step: int) -> None:
        if step == 5:
            os.kill(os.getpid(), number)

    with pytest.raises(error):
        fit(Regression(model, 50), model, _settings(tmp_path), hook=interrupt)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000005"]
    assert signal.getsignal(number) is before


def test_a_checkpoint_of_a_step_beyond_the_last_is_refused(tmp_path: Path) -> None:
    """It would end the stage at once, untrained."""
    _train(10, _settings(tmp_path, checkpoint_every_steps=8))
    with pytest.raises(CorruptArtifact, match="step 10, regression has 5 steps"):
        _train(5, _settings(tmp_path))


def test_a_checkpoint_after_skipped_steps_alone_can_be_loaded(tmp_path: Path) -> None:
    """AdamW has no state yet then."""
    first, resumed = _model(), _model()
    bad = frozenset({0, 1})
    settings = _settings(tmp_path / "cut", checkpoint_every_steps=2)
    with pytest.raises(StopError):
        fit(Regression(first, 6, bad_steps=bad), first, settings, hook=_stop_at(3))
    fit(Regression(resumed, 6, bad_steps=bad), resumed, settings)
    straight = _model()
    fit(Regression(straight, 6, bad_steps=bad), straight, _settings(tmp_path / "straight"))
    assert _weights(resumed) == _weights(straight)


def _writes(folder: Path, value: int) -> Hook:
    def hook(step: int) -> None:
        append_line(folder / "seen.jsonl", {"step": step, "value": value})

    return hook


def test_logs_of_the_hook_are_cut_back_to_the_resumed_step(tmp_path: Path) -> None:
    """Without a checkpoint nothing of them stays: it is of a run that was cut off, perhaps of other settings."""
    settings = _settings(tmp_path, checkpoint_every_steps=4, logs={"seen.jsonl": METRICS_LINE})
    for value, last in ((1, 3), (2, 6), (3, 9)):
        model = _model()

        def hook(step: int, value: int = value, last: int = last) -> None:
            _writes(tmp_path, value)(step)
            _stop_at(last)(step)

        with pytest.raises(StopError):
            fit(Regression(model, 20), model, settings, hook=hook)
    lines = read_lines(tmp_path / "seen.jsonl")
    assert [(line["step"], line["value"]) for line in lines] == [(s, 2) for s in range(5)] + [
        (s, 3) for s in range(5, 10)
    ]


def test_the_rate_in_the_metrics_is_that_of_the_schedule_and_of_the_step(tmp_path: Path) -> None:
    """AdamW's first step moves each weight by the rate, so what is logged is what was used."""
    optim = OptimConfig(learning_rate=0.05, warmup_steps=2, weight_decay=0.0)
    model = _model()
    moved: list[float] = []
    before = _weights(model)

    def hook(step: int) -> None:
        if step == 1:
            moved.extend(abs(new - old) for new, old in zip(_weights(model), before, strict=True))

    fit(Regression(model, 20), model, _settings(tmp_path, optim=optim), hook)
    rates = [line["learning_rate"] for line in read_lines(tmp_path / "metrics.jsonl")]
    assert rates == [learning_rate_at(step, 20, optim) for step in range(20)]
    assert len(set(rates)) > 15
    assert moved == pytest.approx([rates[0]] * 4, rel=1e-3)


def test_gradients_beyond_the_clip_norm_are_scaled_down_to_it(tmp_path: Path) -> None:
    """AdamW does not see the scale of a gradient, but its moments do."""
    norms: dict[float, float] = {}
    for clip in (0.0, 0.01):
        model = _model()
        folder = tmp_path / str(clip)
        fit(Regression(model, 1), model, _settings(folder, optim=OptimConfig(learning_rate=0.05, clip_norm=clip)))
        moments = load_file(folder / "checkpoints" / "step-000001" / "optimizer.safetensors")
        squares = sum(float(value.square().sum()) for name, value in moments.items() if name.endswith("exp_avg"))
        norms[clip] = squares**0.5 / (1 - 0.9)
        line = read_lines(folder / "metrics.jsonl")[0]
        logged = line["gradient_norm"]
        assert logged > 1.0, "the norm before clipping"
        assert line["clipped_updates"] == float(clip > 0)
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3)
    assert norms[0.0] == pytest.approx(logged, rel=1e-3)


def test_each_parameter_group_moves_at_its_own_rate(tmp_path: Path) -> None:
    class Scaled(nn.Linear):
        def learning_rate_scales(self) -> dict[str, float]:
            return {"weight": 3.0}

    torch.manual_seed(5)
    model = Scaled(3, 1)
    before = _weights(model)
    optim = OptimConfig(learning_rate=0.01, warmup_steps=0, weight_decay=0.0)
    fit(Regression(model, 1), model, _settings(tmp_path, optim=optim))
    moved = [abs(new - old) for new, old in zip(_weights(model), before, strict=True)]
    rate = read_lines(tmp_path / "metrics.jsonl")[0]["learning_rate"]
    assert moved == pytest.approx([3 * rate] * 3 + [rate], rel=1e-3)


def test_the_hook_comes_before_the_first_step_and_after_every_one(tmp_path: Path) -> None:
    model = _model()
    weights: list[list[float]] = []
    steps: list[int] = []

    def hook(step: int) -> None:
        steps.append(step)
        weights.append(_weights(model))
        model.eval()

    modes: list[bool] = []
    task = Regression(model, 4)
    loss = task.loss
    task.loss = lambda batch: (modes.append(model.training), loss(batch))[1]  # type: ignore[method-assign, func-returns-value]
    fit(task, model, _settings(tmp_path), hook)
    assert steps == [0, 1, 2, 3, 4]
    assert weights[0] == _weights(_model())
    assert weights[-1] == _weights(model)
    assert all(a != b for a, b in pairwise(weights))
    assert modes == [True] * 4, "a hook that evaluates does not leave the model in evaluation"


def test_a_loss_is_computed_in_the_precision_of_the_settings(tmp_path: Path) -> None:
    seen: dict[str, torch.dtype] = {}
    for precision in ("float32", "bfloat16"):
        model = _model()
        task = Regression(model, 1)
        loss = task.loss

        def record(batch: tuple[Tensor, Tensor], precision: str = precision, loss: Any = loss, m: Any = model) -> Loss:
            seen[precision] = m(batch[0]).dtype
            return loss(batch)  # type: ignore[no-any-return]

        task.loss = record  # type: ignore[method-assign, assignment]
        fit(task, model, _settings(tmp_path / precision, precision=precision))
    assert seen == {"float32": torch.float32, "bfloat16": torch.bfloat16}


def test_tokens_and_lines_are_counted_over_all_micro_batches(tmp_path: Path) -> None:
    model = _model()
    state = fit(Regression(model, 7, micro_batches=3), model, _settings(tmp_path, log_every_steps=3))
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["tokens"]) for line in lines] == [(3, 36), (6, 72), (7, 84)]
    assert state.tokens == 84


def test_an_update_is_one_transfer_from_the_device_whatever_the_micro_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would make the host wait for the device before it can prepare the next micro-batch."""
    fetched: list[int] = []
    real = Tensor.tolist

    def count(tensor: Tensor) -> Any:
        fetched.append(tensor.numel())
        return real(tensor)

    def refuse(_: Tensor) -> float:
        raise AssertionError("a transfer of one number")

    monkeypatch.setattr(Tensor, "tolist", count)
    monkeypatch.setattr(Tensor, "__float__", refuse)
    monkeypatch.setattr(Tensor, "item", refuse)
    model = _model()
    fit(Regression(model, 4, micro_batches=3), model, _settings(tmp_path, checkpoint_every_steps=100))
    assert fetched == [2] * 4, "loss and gradient norm, once an update"
