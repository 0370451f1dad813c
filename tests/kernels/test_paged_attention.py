"""The kernels of paged attention, in Triton's interpreter or on a GPU, against the float64 reference on every case."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="kernels need the train extra (torch)")
pytest.importorskip("triton", reason="kernels need the train extra (triton)")

import bf16_interpreter  # noqa: E402, F401 - importing it repairs bfloat16

from stategpt.kernels._shared.configs import Launch, read_table  # noqa: E402
from stategpt.kernels.attention.cases import error_beside_torch, relative_error  # noqa: E402
from stategpt.kernels.paged_attention import kernel, launch, schedule, signatures  # noqa: E402
from stategpt.kernels.paged_attention.cases import CASES, LARGE_LOGITS, TOLERANCES, Case, Inputs, Tolerance  # noqa: E402
from stategpt.kernels.paged_attention.schedule import Splits  # noqa: E402

pytestmark = pytest.mark.usefixtures("memory_starts_as_nan")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL_TILES = Launch(16, 16, 4, 1)


def by_name(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def plan_of(inputs: Inputs) -> launch.Plan:
    return launch.plan(inputs.q_BHD, inputs.k_pages_PSGD, inputs.page_table_BM, inputs.lengths_B, inputs.prefix)


def on_device(inputs: Inputs) -> Inputs:
    prefix = None if inputs.prefix is None else tuple(tensor.to(DEVICE) for tensor in inputs.prefix)
    return Inputs(*(tensor.to(DEVICE) for tensor in inputs.tensors()), prefix)


def by_kernels(case: Case, inputs: Inputs, plan: launch.Plan | None = None) -> torch.Tensor:
    inputs = on_device(inputs)
    q, k, v, _, _ = inputs.tensors()
    return launch.run(q, k, v, plan or plan_of(inputs), case.window, case.softcap, case.scale).cpu()


@pytest.mark.parametrize("tolerance", TOLERANCES, ids=lambda tolerance: str(tolerance.dtype).removeprefix("torch."))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_equal_the_float64_reference(case: Case, tolerance: Tolerance):
    inputs = case.inputs(tolerance.dtype)
    output, truth = by_kernels(case, inputs), case.truth(inputs)
    assert output.dtype == tolerance.dtype
    assert relative_error(output, truth) <= tolerance.values
    nothing = (truth == 0).all(dim=-1)
    assert (output[nothing] == 0).all()


@pytest.mark.parametrize("dtype", [tolerance.dtype for tolerance in TOLERANCES], ids=str)
def test_large_logits_cost_no_more_precision_than_in_torch(dtype):
    inputs = LARGE_LOGITS.inputs(dtype)
    truth = LARGE_LOGITS.truth(inputs)
    torchs = torch.stack([sdpa(inputs, b) for b in range(len(inputs.lengths_B))])
    allowed = error_beside_torch(relative_error(torchs, truth), LARGE_LOGITS.logits)
    assert relative_error(by_kernels(LARGE_LOGITS, inputs), truth) <= allowed


def sdpa(inputs: Inputs, b: int) -> torch.Tensor:
    """torch's attention of one sequence, in the inputs' dtype. -> o_HD"""
    length, S = int(inputs.lengths_B[b]), inputs.k_pages_PSGD.shape[1]
    pages = inputs.page_table_BM[b, : -(-length // S)].long()
    k_LGD, v_LGD = (x[pages].flatten(0, 1)[:length] for x in (inputs.k_pages_PSGD, inputs.v_pages_PSGD))
    q_HTD, k_GLD, v_GLD = inputs.q_BHD[b].unsqueeze(1), k_LGD.transpose(0, 1), v_LGD.transpose(0, 1)
    o_BHTD = torch.nn.functional.scaled_dot_product_attention(q_HTD[None], k_GLD[None], v_GLD[None], enable_gqa=True)
    return o_BHTD[0, :, 0]


def divided(plan: launch.Plan, own: Splits, shared: Splits, tiles: Launch = SMALL_TILES) -> launch.Plan:
    """The plan with these splits and tiles for groups of at most 16 rows."""
    new_own = dataclasses.replace(plan.own, launch=tiles, splits=own)
    if plan.shared is None:
        return dataclasses.replace(plan, own=new_own)
    sequences, group = len(plan.own.lengths), 2
    count = schedule.shared_tiles(sequences, group, len(plan.shared.lengths), tiles.block_q)
    new_shared = dataclasses.replace(plan.shared, launch=tiles, tiles=count, splits=shared)
    return dataclasses.replace(plan, own=new_own, shared=new_shared)


@pytest.mark.parametrize("name", ["page_of_1", "window", "prefix", "prefix_window"])
def test_any_division_of_the_keys_gives_the_same(name: str):
    case = by_name(name)
    inputs = on_device(case.inputs(torch.float32))
    truth = case.truth(case.inputs(torch.float32))
    for count, least in ((1, 1), (2, 3), (7, 1)):
        plan = divided(plan_of(inputs), Splits(count, least), Splits(max(count // 2, 1), least))
        assert relative_error(by_kernels(case, inputs, plan), truth) <= 2e-6, (count, least)


def test_splits_are_what_the_shapes_say_and_the_values_do_not_matter():
    inputs = by_name("prefix").inputs(torch.float32)
    shapes = Inputs(*(x.to("meta") for x in inputs.tensors()), tuple(x.to("meta") for x in inputs.prefix))
    there, here = plan_of(shapes), plan_of(inputs)  # a meta tensor has no values to read
    for walk in ("own", "shared"):
        a, b = getattr(there, walk), getattr(here, walk)
        assert (a.tiles, a.splits, a.launch) == (b.tiles, b.splits, b.launch)


def test_a_shared_prefix_gives_what_its_samples_give_alone():
    prefix_length, lengths = 33, (5, 17, 0, 30)
    case = Case("shared", "", lengths, prefix_lengths=(prefix_length,), starts=(0, 4), page_slots=1, window=40)
    inputs = on_device(case.inputs(torch.float32))
    table_FM, _, _ = inputs.prefix
    before = table_FM[:, :prefix_length].expand(len(lengths), -1)
    tables, lengths_B = torch.cat([before, inputs.page_table_BM], dim=1), inputs.lengths_B + prefix_length
    alone = dataclasses.replace(inputs, page_table_BM=tables, lengths_B=lengths_B, prefix=None)
    torch.testing.assert_close(by_kernels(case, inputs), by_kernels(case, alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "case",
    [
        Case("own", "", (150, 90, 3), window=40),
        Case("shared", "", (20, 25), prefix_lengths=(90,), starts=(0, 2), window=40),
    ],
    ids=lambda case: case.name,
)
def test_nothing_before_the_window_is_read(case: Case):
    inputs = case.inputs(torch.float32)
    truth = case.truth(inputs)
    walked = [(inputs.page_table_BM, case.lengths, 0)]
    if inputs.prefix is not None:
        walked.append((inputs.prefix[0], case.prefix_lengths, min(case.lengths)))
    for table, lengths, own in walked:
        for row, length in enumerate(lengths):
            gone = table[row, : max(length + own - case.window, 0) // case.page_slots]
            for pages in (inputs.k_pages_PSGD, inputs.v_pages_PSGD):
                pages[gone.long()] = torch.nan
    assert relative_error(by_kernels(case, inputs), truth) <= 2e-6


@pytest.mark.parametrize("page_slots", [32, 64], ids=["a_page_a_key", "a_page_a_step"])
def test_offsets_of_pages_do_not_overflow_32_bits(tmp_path: Path, page_slots: int):
    if DEVICE == "cuda":
        pytest.skip("the pages lie in a sparse file of 4 GiB, which a GPU does not read")
    case = Case("far", "", (20,), page_slots=page_slots)
    near = case.inputs(torch.float16)
    S, G, D = near.k_pages_PSGD.shape[1:]
    page, stride = 9, 2**28 + 128  # the stride fits 32 bits, page * stride does not
    far = []
    for name, pages in (("k", near.k_pages_PSGD), ("v", near.v_pages_PSGD)):
        path = tmp_path / name
        numbers = torch.from_file(str(path), shared=True, size=page * stride + S * G * D, dtype=torch.float16)
        view = numbers.as_strided((page + 1, S, G, D), (stride, G * D, D, 1))
        view[page] = pages[near.page_table_BM[0, 0]]
        assert path.stat().st_blocks * 512 < 2**20  # sparse: no disk and no memory behind it
        far.append(view)
    table = torch.full_like(near.page_table_BM, page)
    inputs = dataclasses.replace(near, k_pages_PSGD=far[0], v_pages_PSGD=far[1], page_table_BM=table)
    assert torch.equal(by_kernels(case, inputs), by_kernels(case, near))


def test_views_with_strides_of_their_own_are_read_in_place():
    case = by_name("off_tile")
    inputs = case.inputs(torch.float32)
    q = torch.stack([inputs.q_BHD, inputs.q_BHD + 1], dim=1)[:, 0]
    both = torch.stack([inputs.k_pages_PSGD, inputs.v_pages_PSGD], dim=1)  # K and V of a page side by side
    table = torch.cat([inputs.page_table_BM, inputs.page_table_BM], dim=1)[:, : inputs.page_table_BM.shape[1]]
    views = Inputs(q, both[:, 0], both[:, 1], table, inputs.lengths_B, None)
    assert not q.is_contiguous()
    assert torch.equal(by_kernels(case, views), by_kernels(case, inputs))


# --- the schedule ---


def test_every_row_of_every_prefix_has_a_tile():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        group, block, prefixes = (int(torch.randint(1, high, (), generator=generator)) for high in (9, 65, 6))
        starts = torch.randint(0, 40, (prefixes + 1,), generator=generator).sort().values.tolist()
        first = [start * group // block + f for f, start in enumerate(starts)]
        for f in range(prefixes):
            rows = (starts[f + 1] - starts[f]) * group
            assert (first[f + 1] - first[f]) * block >= rows
        assert first[-1] <= schedule.shared_tiles(starts[-1], group, prefixes, block)


@pytest.mark.parametrize("length", [1024, 8192, 65536])
@pytest.mark.parametrize("kv_heads", [1, 4, 8, 32])
def test_time_per_key_has_no_cliff_from_batch_1_to_256(kv_heads: int, length: int):
    """Rounds of programs x keys of the longest share, against a device without rounds, 3 programs at once on each."""
    multiprocessors, at_once, group = 132, 3 * 132, 4
    seconds = []
    for batch in range(1, 257):
        splits = schedule.divide(batch * kv_heads, group, 2 * length, 64, multiprocessors)
        blocks = length // 64
        share = max(-(-blocks // splits.count), splits.min_blocks)
        programs = batch * kv_heads * -(-blocks // share)
        seconds.append(-(-programs // at_once) * share)
    for batch, (now, after) in enumerate(itertools.pairwise(seconds), start=1):
        assert after <= 2 * now, f"batch {batch + 1} takes {after}, batch {batch} takes {now}"
    full = [s * at_once / (batch * kv_heads * length / 64) for batch, s in enumerate(seconds, start=1)]
    busy = [ratio for batch, ratio in enumerate(full, start=1) if batch * kv_heads * length / 64 >= 8 * at_once]
    assert all(ratio <= 1.5 for ratio in busy), max(busy)


def test_one_long_sequence_among_short_ones_is_split():
    assert schedule.divide(256 * 8, 4, 131072, 64, 132).count >= 16


def test_partial_results_stay_a_fraction_of_the_keys():
    splits = schedule.divide(1, 32, 65536, 64, 132)
    assert splits.min_blocks * 64 >= schedule.KEYS_PER_ROW * 32
    assert splits.count * splits.min_blocks * 64 <= 65536


# --- what is compiled ahead of time ---


def test_signatures_name_the_kernels_arguments_in_order():
    for variant in signatures.variants():
        function = getattr(kernel, variant.kernel)
        assert list(variant.signature) == list(function.arg_names)
        assert set(variant.constants) == {name for name, kind in variant.signature.items() if kind == "constexpr"}
        assert set(variant.aligned) <= set(variant.signature) - set(variant.constants)


def test_signatures_cover_every_launch_of_the_table():
    table = read_table(Path(signatures.__file__).with_name("configs.json"))
    assert len(table.entries) <= 8
    shipped = {(name, *launch.numbers()) for launches in table.entries.values() for name, launch in launches.items()}
    compiled = set()
    for variant in signatures.variants():
        tile = (variant.constants.get("BLOCK_Q", 1), variant.constants.get("BLOCK_K", variant.constants.get("BLOCK_S")))
        compiled.add((variant.label.split()[0], *tile, variant.warps, variant.stages))
    assert compiled == shipped
