"""Model folders, checkpoints, published folders."""

from __future__ import annotations

import copy
import json
import os
import struct
from pathlib import Path
from typing import Any

import torch
from changes import dumped, flipped, json_bombs, retyped
from data_kinds import _copy, _damaged, _special
from harness import Case, Kind
from workplace import CONFIG, GGUF_HEADER_BYTES, at, sign_again, trained

import stategpt as sg
from stategpt.artifacts import verify
from stategpt.gguf_file import read_metadata


def _weights(model: torch.nn.Module) -> list[bytes]:
    return [parameter.detach().numpy().tobytes() for parameter in model.parameters()]


def _load(folder: Path) -> object:
    model = sg.GPT.from_pretrained(folder)
    return repr(model.config), _weights(model)


def model_with_manifest(case: Case) -> object:
    """Any file changed under the hashes of the manifest."""
    return _load(_damaged(at("published"), case))


def model_without_manifest(case: Case) -> object:
    """config.json or model.safetensors changed."""
    folder = case.folder / "model"
    _copy(at("model"), folder)
    if not case.is_good:
        file = folder / case.draw.choice(("config.json", "model.safetensors"))
        file.write_bytes(flipped(file.read_bytes(), case.draw))
    return _load(folder)


SIZES = (
    0,
    -1,
    1,
    3,
    2**16,
    10**5,
    3 * 10**6,
    2 * 10**7,
    10**9,
    2**31,
    2**32,
    2**63,
    2**64,
    1.5,
    1e300,
    True,
    "8",
    None,
    [],
    {},
)


def config_types(case: Case) -> object:
    """config.json with values of other types, sizes that no memory holds, bombs."""
    folder = case.folder / "model"
    _copy(at("model"), folder)
    found: Any = json.loads((folder / "config.json").read_bytes())
    content = dumped(found)
    if not case.is_good and case.number % 3 == 0:
        content = dumped(retyped(found, case.draw))
    elif not case.is_good and case.number % 3 == 1:
        sizes = [key for key, value in found.items() if isinstance(value, int | float) and not isinstance(value, bool)]
        found[case.draw.choice(sizes)] = case.draw.choice(SIZES)
        content = dumped(found)
    elif not case.is_good:
        other = {
            "model_type": [],
            "architectures": 5,
            "rope_parameters": "x",
            "rope_scaling": {"type": "yarn"},
            "reward_offset": True,
        }
        key = case.draw.choice(list(other))
        content = dumped({**found, key: other[key]}) if case.draw.random() < 0.3 else case.draw.choice(json_bombs())
    (folder / "config.json").write_bytes(content)
    return _load(folder)


DTYPES = ("BOOL", "I8", "U8", "I16", "I32", "I64", "U32", "F8_E4M3", "F8_E5M2", "F16", "BF16", "F64", "x", "", 5, None)


def safetensors_headers(case: Case) -> object:
    """The header of model.safetensors: dtypes, shapes, offsets, lengths; values; things that are no file."""
    folder = case.folder / "model"
    _copy(at("model"), folder)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header, values = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    way = -1 if case.is_good else case.number % 5
    if way == 0:
        header = retyped(header, case.draw)
    elif way == 1:
        name = case.draw.choice([name for name in header if name != "__metadata__"])
        header[name]["dtype"] = case.draw.choice(DTYPES)
    elif way == 2:
        values = case.draw.choice(
            (b"\xff" * len(values), b"\x00\x00\xc0\x7f" * (len(values) // 4), values[:-1], values * 2, b"")
        )
    text = dumped(header) if way != 3 else case.draw.choice(json_bombs())
    size = case.draw.choice((len(text), 0, 2**40, 2**63, len(text) + 1)) if way == 3 else len(text)
    path.write_bytes(struct.pack("<Q", size) + text + values)
    if way == 4:
        path.unlink()
        _special(path, case.draw.randrange(5))
    return _load(folder)


def gguf_files(case: Case) -> object:
    """A GGUF file: flips and cuts anywhere; numbers of its header replaced by others, huge ones among them."""
    content = bytearray(at("model.gguf").read_bytes())
    if not case.is_good and case.number % 2:
        content = bytearray(flipped(bytes(content), case.draw))
    elif not case.is_good:
        width = case.draw.choice((4, 8))
        place = case.draw.choice((8, 16, case.draw.randrange(24, GGUF_HEADER_BYTES)))
        content[place : place + width] = case.draw.choice(SIZES_OF_64_BITS).to_bytes(8, "little")[:width]
    path = case.folder / "model.gguf"
    path.write_bytes(content)
    metadata = read_metadata(path)
    return repr(metadata), _load(path)


SIZES_OF_64_BITS = (0, 1, 2, 3, 255, 2**16, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1)


def _resume(folder: Path) -> object:
    """Loads the newest checkpoint and takes a step, which writes through what was loaded."""
    from stategpt.train.checkpoint import load_latest_checkpoint

    model, optimizer = trained()
    state = load_latest_checkpoint(folder, model, optimizer, CONFIG)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return state, _weights(model)


def checkpoint_flips(case: Case) -> object:
    """The newest damaged: the one before it is used."""
    folder = case.folder / "checkpoints"
    _copy(at("checkpoints"), folder)
    if not case.is_good:
        file = case.draw.choice(sorted((folder / "step-000003").iterdir()))
        file.write_bytes(flipped(file.read_bytes(), case.draw))
    return _resume(folder)


def checkpoint_folders(case: Case) -> object:
    """Both damaged, files missing or more, a folder, FIFO or link in place of a file or of a checkpoint."""
    folder = case.folder / "checkpoints"
    _copy(at("checkpoints"), folder)
    newest, before = folder / "step-000003", folder / "step-000002"
    ways = [
        lambda: [(step / "manifest.json").write_bytes(b"x") for step in (newest, before)],
        lambda: (newest / "more").write_bytes(b"x"),
        lambda: (newest / "manifest.json").unlink(),
        lambda: (before.rename(folder / "step-x"), newest.rename(folder / "step-000009")),
        lambda: (folder / "step-000004").mkdir(),
        lambda: (folder / "step-000004").write_bytes(b"x"),
        lambda: (folder / "step-000004").symlink_to(newest),
        lambda: (folder / "step-000004").symlink_to("step-000004"),
        lambda: os.mkfifo(folder / "step-000004"),
    ]
    places = [(newest / file.name, sort) for file in sorted(newest.iterdir()) for sort in range(5)]
    if not case.is_good:
        if case.number < len(ways):
            ways[case.number]()
        else:
            path, sort = places[case.number - len(ways)]
            path.unlink()
            _special(path, sort)
    return _resume(folder)


CHECKPOINT_CASES = 9 + 4 * 5


def checkpoint_signed_again(case: Case) -> object:
    """Tensors and state that are wrong under hashes that are right."""
    from safetensors.torch import load_file, save_file

    def change(folder: Path) -> None:
        """Damages one file of the folder."""
        way, draw = case.number % 4, case.draw
        if way == 0:
            file = draw.choice(sorted(folder.iterdir()))
            file.write_bytes(flipped(file.read_bytes(), draw))
        elif way == 1:
            state = retyped(json.loads((folder / "state.json").read_bytes()), draw)
            (folder / "state.json").write_bytes(draw.choice((dumped(state), dumped(state), draw.choice(json_bombs()))))
        else:
            path = folder / ("model.safetensors" if way == 2 else "optimizer.safetensors")
            tensors = load_file(path)
            for name in draw.choice((list(tensors), [draw.choice(list(tensors))])):
                tensors[name] = _changed(tensors[name], draw.randrange(9))
            for name in [name for name, tensor in tensors.items() if tensor.ndim and tensor.shape[0] == 7]:
                del tensors[name]
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)

    folder = case.folder / "checkpoints"
    sign_again(at("checkpoints/step-000003"), folder / "step-000003", (lambda _: None) if case.is_good else change)
    return _resume(folder)


def _changed(tensor: torch.Tensor, way: int) -> torch.Tensor:
    return (
        torch.zeros(1),
        torch.zeros(0),
        torch.zeros(7),
        tensor.double(),
        tensor.to(torch.int8),
        tensor * float("nan"),
        tensor - 1e30,
        torch.zeros((1, *tensor.shape)),
        tensor.to(torch.bfloat16),
    )[way]


def published_flips(case: Case) -> object:
    """Any byte of any file, or of the manifest."""
    return verify(_damaged(at("published"), case)).fingerprint


def published_manifests(case: Case) -> object:
    """Manifests of other types, of other names (`../`, absolute), of absurd sizes, bombs."""
    folder = case.folder / "published"
    _copy(at("published"), folder)
    content = (folder / "manifest.json").read_bytes()
    found: dict[str, Any] = json.loads(content)
    if not case.is_good:
        names = ("../x", "/etc/passwd", "a/../../x", "\u0000", "", ".", "x" * 5000, "manifest.json", "config.json/x")
        changed = copy.deepcopy(found)
        way = case.number % 4
        if way == 0:
            changed = retyped(found, case.draw)
        elif way == 1:
            changed["files"][case.draw.choice(names)] = changed["files"].pop(case.draw.choice(list(changed["files"])))
        elif way == 2:
            record = changed["files"][case.draw.choice(list(changed["files"]))]
            record["size"] = case.draw.choice((-1, 2**62, 2**63, 2**64, 1e300, "5", 0))
        content = dumped(changed) if way < 3 else case.draw.choice(json_bombs())
    (folder / "manifest.json").write_bytes(content)
    return verify(folder).fingerprint


KINDS = [
    Kind("model folder with manifest", model_with_manifest, (500, 500, 0, 0, 0, 0, 0, 0)),
    Kind("model folder without manifest: flips", model_without_manifest, (300, 177, 38, 85, 0, 0, 0, 0)),
    Kind("config.json: types, absurd sizes", config_types, (588, 193, 215, 3, 171, 0, 0, 6)),
    Kind("model.safetensors: headers, dtypes, special files", safetensors_headers, (373, 354, 3, 10, 4, 0, 0, 2)),
    Kind("GGUF files: flips, cuts, sizes", gguf_files),
    Kind("checkpoints: newest damaged", checkpoint_flips, (300, 1, 0, 299, 0, 0, 0, 0)),
    Kind("checkpoints: folders damaged", checkpoint_folders, (17, 4, 10, 0, 3, 0, 0, 0), fixed=CHECKPOINT_CASES),
    Kind("checkpoints: signed again", checkpoint_signed_again, (180, 1, 0, 135, 44, 0, 1, 0)),
    Kind("published folders: flips", published_flips, (3150, 3150, 0, 0, 0, 0, 0, 0)),
    Kind("published folders: manifests", published_manifests, (632, 632, 0, 0, 0, 0, 0, 0)),
]
