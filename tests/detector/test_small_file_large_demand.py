"""Weight files made to exhaust memory, to hang, or to fail in a way that nobody expects: refused in one line."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from detector.checkpoint import load_checkpoint, read_header
from detector.models import build_model
from detector.torch_file import TorchFile
from detector.unpickler import MAX_COPIED_ITEMS
from pipeline.core.errors import CheckpointError


def write_program(path: Path, program: bytes) -> Path:
    """A zip as torch.save makes it, around any pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
    return path


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n(("
    + text("storage")
    + b"ctorch\nFloatStorage\n"
    + text("0")
    + text("cpu")
    + b"K\x04tQK\x00K\x04\x85K\x01\x85\x89NtR"
)
"""Leaves the four numbers of `write_program` on the stack."""
STAND_IN = b"cmodels.yolo\nModel\n)\x81"


@pytest.mark.parametrize("name", ["torch\nSize", "builtins\nset", "collections\nOrderedDict"])
def test_copies_of_one_list_are_counted(tmp_path: Path, name: str) -> None:
    n_items = 50_000
    items = b"](" + (b"N" if "Size" in name else b"K\x01K\x02\x86") * n_items + b"e"
    make = b"h\x01h\x00\x85R0"
    n_copies = MAX_COPIED_ITEMS // n_items + 1
    program = b"\x80\x02" + items + b"q\x000c" + name.encode() + b"\nq\x010" + make * n_copies + b"N."
    with pytest.raises(CheckpointError, match="refused: its pickle copies more than"):
        TorchFile(write_program(tmp_path / "x.pt", program))


def test_copies_of_attributes_are_counted(tmp_path: Path) -> None:
    n_items = 50_000
    attributes = b"}(" + b"".join(text(str(i)) + b"N" for i in range(n_items)) + b"u"
    make = b"h\x01)\x81h\x00b0"
    n_copies = MAX_COPIED_ITEMS // n_items + 1
    program = b"\x80\x02" + attributes + b"q\x000cmodels.yolo\nModel\nq\x010" + make * n_copies + b"N."
    with pytest.raises(CheckpointError, match="refused: its pickle copies more than"):
        TorchFile(write_program(tmp_path / "x.pt", program))


def test_nested_tuples_are_not_spelled_out_in_the_error(tmp_path: Path) -> None:
    """Forty pairs of the pair before: as text, more than a million million characters."""
    nested = b"N" + b"q\x00h\x00\x86" * 40
    with pytest.raises(CheckpointError, match="a tuple that is not a storage") as caught:
        TorchFile(write_program(tmp_path / "x.pt", b"\x80\x02" + nested + b"Q."))
    assert len(str(caught.value)) < 300


def test_attributes_cannot_hide_the_methods_of_a_dict(tmp_path: Path) -> None:
    weights = b"ccollections\nOrderedDict\n)R" + text("w") + TENSOR + b"s"
    hidden = weights + b"}" + text("items") + text("not to be called") + b"sb"
    root = TorchFile(write_program(tmp_path / "x.pt", b"\x80\x02" + hidden + b".")).root
    assert [name for name, _ in root.items()] == ["w"]


def test_modules_that_share_one_large_group(tmp_path: Path) -> None:
    shared = b"}(" + b"".join(text(f"p{i}") + b"h\x05" for i in range(2000)) + b"uq\x060"
    child = STAND_IN + b"}" + text("_parameters") + b"h\x06sb"
    children = b"}(" + b"".join(text(f"m{i}") + child for i in range(200)) + b"u"
    root = STAND_IN + b"}" + text("_modules") + children + b"sb"
    program = b"\x80\x02" + TENSOR + b"q\x050" + shared + root + b"."
    with pytest.raises(CheckpointError, match="no tree that a network would have"):
        read_header(write_program(tmp_path / "x.pt", program))


def test_modules_with_endless_names(tmp_path: Path) -> None:
    parameters = b"}" + text("w") + TENSOR + b"s"
    node = STAND_IN + b"}" + text("_parameters") + parameters + b"sb"
    for _ in range(3):
        node = STAND_IN + b"}" + text("_modules") + b"}" + text("n" * 500) + node + b"ssb"
    with pytest.raises(CheckpointError, match="no tree that a network would have"):
        read_header(write_program(tmp_path / "x.pt", b"\x80\x02" + node + b"."))


def test_modules_that_hold_themselves_under_a_number(tmp_path: Path) -> None:
    """Under a number it is no module of a state dict, but still an object that a search may run around in."""
    parameters = b"}" + text("w") + TENSOR + b"s"
    loop = b"}(K\x01h\x00K\x02h\x00u"
    program = STAND_IN + b"q\x00}(" + text("_parameters") + parameters + text("_modules") + loop + b"ub."
    with pytest.raises(CheckpointError, match="wanted weights of"):
        read_header(write_program(tmp_path / "x.pt", b"\x80\x02" + program))


def test_a_module_whose_attribute_is_called_like_one_of_ours(tmp_path: Path) -> None:
    """An object whose name is itself cannot be written out in an error."""
    program = STAND_IN + b"q\x00}(" + text("qualified_name") + b"h\x00" + text("_modules") + b"}" + text("a")
    with pytest.raises(CheckpointError, match=r"stand-in for models\.yolo\.Model"):
        read_header(write_program(tmp_path / "x.pt", b"\x80\x02" + program + b"h\x00sub."))


def test_shapes_without_numbers_make_no_network(tmp_path: Path) -> None:
    """A thousand million classes that stand in the shapes only: neither their names nor their weights are made."""
    n_classes = 10**9
    shapes: OrderedDict[str, torch.Tensor] = OrderedDict(build_model("yolox-nano", num_classes=80).state_dict())
    for name, value in shapes.items():
        if "cls_preds" in name:
            shapes[name] = value[:1].expand(n_classes, *value.shape[1:])
    torch.save(shapes, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="reaches beyond its numbers"):
        load_checkpoint(tmp_path / "x.pth")


def test_an_archive_that_lies_about_its_sizes(tmp_path: Path) -> None:
    """The size of an entry is the file's own word; reading as much as it says would ask for that much memory."""
    count = b"J" + struct.pack("<i", 2**29)
    tensor = TENSOR.replace(b"K\x04tQK\x00K\x04", count + b"tQK\x00" + count)
    path = write_program(tmp_path / "x.pt", b"\x80\x02" + tensor + b".")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(data)
    file = TorchFile(path)
    assert file.root.shape == (2**29,)
    with pytest.raises(CheckpointError, match="reaches beyond its numbers"):
        file.tensor(file.root)


def test_keys_of_an_old_file_that_are_no_texts(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.pt").read_bytes()
    keys = next(pickle.dumps([key], 2) for key in _keys_in(data))
    assert keys in data
    (tmp_path / "x.pt").write_bytes(data.replace(keys, pickle.dumps([[]], 2)))
    with pytest.raises(CheckpointError, match="the numbers of a tensor are missing"):
        TorchFile(tmp_path / "x.pt")


def _keys_in(data: bytes) -> list[str]:
    stream, texts = io.BytesIO(data), []
    for _ in range(5):
        texts = [argument for opcode, argument, _ in pickletools.genops(stream) if opcode.name == "BINUNICODE"]
    return texts
