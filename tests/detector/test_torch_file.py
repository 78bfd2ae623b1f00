"""Reading what torch.save wrote without running it; hostile files are refused and do nothing."""

from __future__ import annotations

import collections
import functools
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from detector.torch_file import TorchFile, module_tensors
from detector.unpickler import StandIn, TensorRef
from pipeline.core.errors import CheckpointError


def write_program(path: Path, program: bytes) -> Path:
    """A zip as torch.save makes it, around any pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
        archive.writestr("archive/version", "3\n")
    return path


class _Saved:
    """Pickles a storage as torch.save does."""


class _Pickler(pickle._Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, _Saved):
            return ("storage", torch.FloatStorage, "0", "cpu", 4)
        return None


def program_of(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


class Call:
    """An object whose unpickling calls a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def model_code(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module `models.yolo` as the YOLOv7 program has one, gone when the test reads the file."""
    package, module = types.ModuleType("models"), types.ModuleType("models.yolo")

    class Conv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, bias=False)
            self.bn = nn.BatchNorm2d(4)
            self.act = nn.SiLU()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Sequential(Conv(), Conv())
            self.register_buffer("passing", torch.zeros(3), persistent=False)
            self.names = ["cat", "dog"]
            self.stride = torch.tensor([8.0, 16.0])

    for cls in (Conv, Model):
        cls.__module__, cls.__qualname__ = "models.yolo", cls.__name__
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "models", package)
    monkeypatch.setitem(sys.modules, "models.yolo", module)
    return module


def same(file: TorchFile, refs: dict[str, TensorRef], wanted: dict[str, torch.Tensor]) -> None:
    assert list(refs) == list(wanted)
    for name, value in wanted.items():
        found = file.tensor(refs[name])
        assert found.dtype == value.dtype
        assert torch.equal(found, value), name
        assert found.is_contiguous()


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickled_model_gives_its_state_dict(
    tmp_path: Path, model_code: types.ModuleType, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    model = model_code.Model().half()
    torch.save({"model": model, "epoch": 3}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "models.yolo")
    file = TorchFile(tmp_path / "x.pt")
    assert file.root["epoch"] == 3
    stand_in = file.root["model"]
    assert isinstance(stand_in, StandIn)
    assert repr(stand_in) == "<stand-in for models.yolo.Model>"
    assert stand_in.names == ["cat", "dog"]  # type: ignore[attr-defined]
    same(file, module_tensors(stand_in), model.state_dict())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_views_scalars_and_dtypes(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    values = {
        "transposed": base.t(),
        "part": base[1:3, 2:4],
        "scalar": torch.tensor(5),
        "empty": torch.zeros(0, 3),
        "half": torch.ones(3).half(),
        "bfloat16": torch.ones(3).bfloat16(),
        "bool": torch.tensor([True, False]),
        "parameter": nn.Parameter(torch.ones(2)).data,
    }
    torch.save(values, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    file = TorchFile(tmp_path / "x.pt")
    same(file, file.root, values)


def test_a_training_checkpoint_with_optimiser_and_numpy(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    saved = {
        "model": net.state_dict(),
        "optimizer": optimiser.state_dict(),
        "best_fitness": np.array([0.5]),
        "map": np.float64(0.25),
        "results": "text",
        "shape": torch.Size([1, 2]),
        "parameters": collections.OrderedDict(weight=nn.Parameter(torch.ones(2))),
    }
    torch.save(saved, tmp_path / "x.pt")
    file = TorchFile(tmp_path / "x.pt")
    same(file, file.root["model"], dict(net.state_dict()))
    assert file.root["shape"] == (1, 2)
    assert file.root["results"] == "text"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What a hostile file tries to make."""
    return tmp_path / "was_here"


def hostile(victim: Path) -> dict[str, tuple[Any, str]]:
    touch = f"touch {victim}"
    source = f"open({str(victim)!r}, 'w')"
    return {
        "os.system": (Call(os.system, touch), "posix.system"),
        "in a state dict": ({"model": collections.OrderedDict(a=Call(os.system, touch))}, "posix.system"),
        "eval": (Call(eval, source), "builtins.eval|__builtin__.eval"),
        "exec": (Call(exec, source), "builtins.exec|__builtin__.exec"),
        "getattr": (Call(getattr, os, "system"), "getattr|module"),
        "partial": (Call(functools.partial, os.system, touch), "functools.partial"),
        "torch.hub": (Call(torch.hub.load, "a/b", "c"), "torch.hub.load"),
        "torch.load": (Call(torch.load, str(victim)), "torch.serialization.load"),
        "load from bytes": (Call(torch.storage._load_from_bytes, b""), "torch.storage._load_from_bytes"),
        "import": (Call(__import__, "os"), "builtins.__import__|__builtin__.__import__"),
        "nested in arguments": (Call(dict, [("a", Call(os.system, touch))]), "posix.system|dict"),
        "open": (Call(open, str(victim), "w"), "io.open"),
        "numpy load": (Call(np.load, str(victim), None, True), "numpy"),
    }


@pytest.mark.parametrize("name", sorted(hostile(Path("x"))))
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path: Path, victim: Path, name: str) -> None:
    payload, named = hostile(victim)[name]
    try:
        program = program_of(payload)
    except (TypeError, pickle.PicklingError):
        # A module cannot be pickled by the library; the global that would fetch it is what counts.
        program = b"\x80\x02c__builtin__\ngetattr\n."
    with pytest.raises(CheckpointError, match=rf"refused: it names '[^']*({named})") as caught:
        TorchFile(write_program(tmp_path / "evil.pt", program))
    assert "\n" not in str(caught.value)
    assert not victim.exists()


def test_a_hostile_class_of_model_code_is_not_called(
    tmp_path: Path, victim: Path, model_code: types.ModuleType
) -> None:
    """Even while the program's modules are importable, none of their code runs."""

    class Evil:
        def __init__(self, *_: Any) -> None:
            victim.touch()

        def __setstate__(self, state: Any) -> None:
            victim.touch()

        def __reduce__(self) -> Any:
            return Evil, (1,), {"a": 1}

    Evil.__module__, Evil.__qualname__ = "models.yolo", "Evil"
    model_code.Evil = Evil  # type: ignore[attr-defined]
    evil = Evil.__new__(Evil)
    file = TorchFile(write_program(tmp_path / "evil.pt", program_of({"model": evil})))
    assert isinstance(file.root["model"], StandIn)
    assert file.root["model"].a == 1  # type: ignore[attr-defined]
    assert not victim.exists()


@pytest.mark.parametrize(
    "name",
    ["models.common\nos.system", "models..x\nf", "torch.nn.modules.container\n__class__.__base__", "modelsevil\nf"],
)
def test_names_that_only_look_like_model_code_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="refused: it names"):
        TorchFile(write_program(tmp_path / "x.pt", b"\x80\x02c" + name.encode() + b"\n."))


def test_a_program_cannot_leave_attributes_on_the_readers(tmp_path: Path) -> None:
    from detector import unpickler

    reader = unpickler._ANSWERS["torch._utils._rebuild_tensor_v2"]
    program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x01\x00\x00\x00aK\x01s\x86b."
    with pytest.raises(CheckpointError, match="refused"):
        TorchFile(write_program(tmp_path / "x.pt", program))
    assert not hasattr(reader, "a")


def tensor_program(offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    return program_of({"w": Call(torch._utils._rebuild_tensor_v2, _Saved(), offset, shape, stride, False, None)})


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        pytest.param(0, (10**9,), (0,), id="a stride of 0 makes 4 numbers a thousand million"),
        pytest.param(0, (5,), (1,), id="one number too many"),
        pytest.param(3, (2,), (1,), id="begins too late"),
        pytest.param(0, (2, 2), (1, 4), id="steps too far"),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    file = TorchFile(write_program(tmp_path / "x.pt", tensor_program(offset, shape, stride)))
    with pytest.raises(CheckpointError, match=r"damaged: a tensor of shape .* reaches beyond its numbers"):
        file.tensor(file.root["w"])


@pytest.mark.parametrize(
    ("offset", "shape", "stride"), [(-1, (2,), (1,)), (0, (-2,), (1,)), (0, (2,), (-1,)), (0, (2,), (1, 1))]
)
def test_a_tensor_of_no_sense_is_refused(
    tmp_path: Path, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    with pytest.raises(CheckpointError, match="refused: its pickle is damaged"):
        TorchFile(write_program(tmp_path / "x.pt", tensor_program(offset, shape, stride)))


def test_a_memo_slot_cannot_ask_for_memory(tmp_path: Path) -> None:
    program = b"\x80\x02N" + b"r" + struct.pack("<I", 2**31) + b"."
    with pytest.raises(CheckpointError, match="memo slots"):
        TorchFile(write_program(tmp_path / "x.pt", program))


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/data/0", b"\0" * 10**6)
    with pytest.raises(CheckpointError, match="not compressed"):
        TorchFile(tmp_path / "x.pt")


def test_a_tree_of_modules_that_holds_itself_is_refused() -> None:
    node = StandIn()
    node.__setstate__({"_modules": {"a": node}})
    with pytest.raises(CheckpointError, match="no tree"):
        module_tensors(node)


def test_big_endian_numbers_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(CheckpointError, match="little-endian"):
        TorchFile(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "an empty file"),
        (b"hello, I am text\n", "a text file"),
        (b"\x89PNG\r\n\x1a\n....", "a picture"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x00\x01\x02\x03", "another kind of file"),
        (pickle.dumps([1, 2]), "another pickle"),
        (b"\x80\x02garbage", "cut short or not a PyTorch checkpoint"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=named) as caught:
        TorchFile(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "x.pt") in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_told(tmp_path: Path, zipped: bool, share: float) -> None:
    torch.save({"w": torch.arange(5000.0)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"cut short|damaged"):
        TorchFile(tmp_path / "x.pt")


def test_another_zip_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("word/document.xml", "")
    with pytest.raises(CheckpointError, match="another zip archive"):
        TorchFile(tmp_path / "x.pt")


def test_random_damage_never_escapes_as_another_error(tmp_path: Path) -> None:
    torch.save({"model": nn.Linear(3, 3).state_dict(), "names": ["a"]}, tmp_path / "x.pt")
    data = bytearray((tmp_path / "x.pt").read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 8):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "y.pt").write_bytes(damaged)
        try:
            file = TorchFile(tmp_path / "y.pt")
            for ref in file.root["model"].values() if isinstance(file.root, dict) and "model" in file.root else ():
                if isinstance(ref, TensorRef):
                    file.tensor(ref)
        except CheckpointError:
            pass
