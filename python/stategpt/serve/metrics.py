"""Counters of the server in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number for each set of labels."""

    kind = "counter"

    def __init__(self, name: str, told: str) -> None:
        self.name, self.told = name, told
        self._values: dict[Labels, float] = {}

    def add(self, amount: float = 1, **labels: str) -> None:
        """Adds to the number of these labels."""
        key = tuple(labels.items())
        self._values[key] = self._values.get(key, 0) + amount

    def value(self, **labels: str) -> float:
        """The number of these labels."""
        return self._values.get(tuple(labels.items()), 0)

    def lines(self) -> Iterator[str]:
        """Its lines."""
        for labels, value in self._values.items():
            yield f"{self.name}{_shown(labels)} {value:g}" if value % 1 else f"{self.name}{_shown(labels)} {int(value)}"


class Gauge(Counter):
    """A number that goes up and down."""

    kind = "gauge"

    def set(self, value: float, **labels: str) -> None:
        """Replaces the number of these labels."""
        self._values[tuple(labels.items())] = value


class Histogram:
    """How often a time was below each of some limits."""

    kind = "histogram"

    def __init__(self, name: str, told: str) -> None:
        self.name, self.told = name, told
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts a time."""
        place = next((number for number, limit in enumerate(_SECONDS) if seconds <= limit), len(_SECONDS))
        self._counts[place] += 1
        self._sum += seconds

    def lines(self) -> Iterator[str]:
        """Its lines."""
        count = 0
        for limit, each in zip((*map(str, _SECONDS), "+Inf"), self._counts, strict=True):
            count += each
            yield f'{self.name}_bucket{{le="{limit}"}} {count}'
        yield f"{self.name}_sum {self._sum:.6f}"
        yield f"{self.name}_count {count}"


class Metrics:
    """All numbers of a server."""

    def __init__(self) -> None:
        self.requests = Counter("stategpt_requests_total", "Requests by endpoint and status.")
        self.prompt_tokens = Counter("stategpt_prompt_tokens_total", "Tokens of prompts.")
        self.cached_tokens = Counter("stategpt_cached_prompt_tokens_total", "Tokens of prompts that were in the cache.")
        self.generated_tokens = Counter("stategpt_generated_tokens_total", "Tokens that were sampled.")
        self.key_tokens = Counter("stategpt_key_tokens_total", "Tokens by API key.")
        self.disconnects = Counter("stategpt_disconnects_total", "Requests whose client left before the answer.")
        self.in_flight = Gauge("stategpt_requests_in_flight", "Requests that are being answered.")
        self.connections = Gauge("stategpt_connections", "Open connections.")
        self.engine_steps = Gauge("stategpt_engine_steps", "Steps of the schedulers.")
        self.engine_restarts = Gauge("stategpt_engine_restarts", "Schedulers made again after a defect.")
        self.model = Gauge("stategpt_model", "Numbers of each model's scheduler.")
        self.first_token = Histogram("stategpt_first_token_seconds", "Time from a request to its first token.")
        self.duration = Histogram("stategpt_request_seconds", "Time from a request to the end of its answer.")

    def text(self, models: Mapping[str, Mapping[str, float]]) -> str:
        """The page at /metrics; `models` are numbers of each model's scheduler."""
        for model, numbers in models.items():
            for name, value in numbers.items():
                self.model.set(value, model=model, number=name)
        lines = []
        for each in vars(self).values():
            lines += [f"# HELP {each.name} {each.told}", f"# TYPE {each.name} {each.kind}", *each.lines()]
        return "\n".join(lines) + "\n"


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
