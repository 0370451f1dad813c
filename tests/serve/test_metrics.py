"""The page at /metrics is Prometheus' text format, whatever happened before: read by a parser of that format."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from live_server import LiveServer, live_server
from scripted_scheduler import Script, scripted
from stategpt.serve.metrics import Counter, Histogram, Metrics

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = rf'{NAME}="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9.e+-]+|NaN|[+-]Inf)")


def parse(page: str) -> dict[str, dict[str, float]]:
    """Values by the name of a family and by sample, of a page as the format's description says it.

    https://prometheus.io/docs/instrumenting/exposition_formats: HELP and TYPE once and before the samples of a family,
    no sample twice, buckets that grow and end with +Inf, the value of which is the count.
    """
    assert page.endswith("\n")
    kinds: dict[str, str] = {}
    found: dict[str, dict[str, float]] = defaultdict(dict)
    told: set[str] = set()
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name, _, text = line.removeprefix("# HELP ").partition(" ")
            assert text
            assert name not in told
            told.add(name)
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split()
            assert name in told
            assert name not in kinds
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            family = re.sub(r"_(bucket|sum|count)$", "", match[1])
            family = family if kinds.get(family) == "histogram" else match[1]
            assert list(kinds)[-1] == family, "samples stand behind their family's type"
            sample = line.rpartition(" ")[0]
            assert sample not in found[family]
            found[family][sample] = float(match[3])
    for name, kind in kinds.items():
        assert (kind == "counter") == name.endswith("_total")
        if kind == "histogram":
            buckets = [value for sample, value in found[name].items() if "_bucket" in sample]
            assert buckets == sorted(buckets)
            assert buckets[-1] == found[name][f'{name}_bucket{{le="+Inf"}}'] == found[name][f"{name}_count"]
    return found


@pytest.fixture
def live() -> Iterator[LiveServer]:
    with live_server({"tiny": scripted(Script())}) as running:
        yield running


def test_the_page_is_valid_before_and_after_requests(live: LiveServer) -> None:
    first = parse(live.get("/metrics")[1])
    live.post("/v1/completions", {"prompt": "Return", "max_tokens": 3})
    live.post("/v1/completions", {"prompt": "Return", "n": "x"})
    live.events("/v1/completions", {"prompt": "Return", "max_tokens": 3})
    live.get("/v1/nothing")
    status, page, headers = live.request("GET", "/metrics", None)
    found = parse(page)
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    requests = found["stategpt_requests_total"]
    assert requests['stategpt_requests_total{endpoint="/v1/completions",status="200"}'] == 2
    assert requests['stategpt_requests_total{endpoint="/v1/completions",status="400"}'] == 1
    assert requests['stategpt_requests_total{endpoint="none",status="404"}'] == 1
    assert found["stategpt_requests_in_flight"] == {"stategpt_requests_in_flight": 1}
    assert found["stategpt_connections"] == {"stategpt_connections": 1}
    assert found["stategpt_generated_tokens_total"] == {'stategpt_generated_tokens_total{model="tiny"}': 6}
    assert found["stategpt_first_token_seconds"]["stategpt_first_token_seconds_count"] == 2
    earlier, later = (page["stategpt_request_seconds"]["stategpt_request_seconds_count"] for page in (first, found))
    assert later - earlier == 5


def test_another_parser_of_the_format_reads_the_same(live: LiveServer) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="the reference parser is no dependency")
    live.post("/v1/completions", {"prompt": "Return", "max_tokens": 3})
    page = live.get("/metrics")[1]
    theirs = {
        sample.name: sample.value
        for family in parser.text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.labels
    }
    ours = {sample: value for samples in parse(page).values() for sample, value in samples.items() if "{" not in sample}
    assert theirs == ours


def test_what_a_label_may_hold() -> None:
    counter = Counter("stategpt_a_total", "A.")
    counter.add(2.5, name='a"b\\c\nd')
    assert list(counter.lines()) == ['stategpt_a_total{name="a\\"b\\\\c\\nd"} 2.5']
    metrics = Metrics()
    metrics.key_tokens.add(3, key='a"b\\c\nd')
    metrics.key_tokens.add(1e18, key="much")
    values = parse(metrics.text({"m": {"pages_used": 3, "running": 0.5}}))
    assert values["stategpt_key_tokens_total"]['stategpt_key_tokens_total{key="much"}'] == 1e18
    assert set(values["stategpt_model"].values()) == {3, 0.5}


def test_a_histogram_counts_each_time_once() -> None:
    times = Histogram("stategpt_t", "T.")
    for seconds in (0.0, 0.005, 0.0051, 2.0, 61.0):
        times.observe(seconds)
    lines = dict(line.rsplit(" ", 1) for line in times.lines())
    assert [lines[f'stategpt_t_bucket{{le="{limit}"}}'] for limit in ("0.005", "0.01", "2.5", "60.0", "+Inf")] == [
        "2", "3", "4", "4", "5",
    ]  # fmt: skip
    assert float(lines["stategpt_t_sum"]) == pytest.approx(63.0101)


def test_metrics_hold_no_text_of_a_request(live: LiveServer) -> None:
    live.post("/v1/completions", {"prompt": "secret", "model": "secret"})
    live.get("/secret")
    assert "secret" not in live.get("/metrics")[1]
    assert json.loads(live.get("/health")[1]) == {"status": "ok"}
