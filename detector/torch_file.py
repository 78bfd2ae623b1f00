"""The files that torch.save writes: a pickle and the numbers of its tensors, read without torch.load."""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from detector.unpickler import MAX_PROGRAM_BYTES, InertUnpickler, StandIn, TensorRef, program_length
from pipeline.core.errors import CheckpointError

_ZIP_HEAD = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_ENTRIES = 100_000
_MAX_DEPTH = 64
_MAX_NAME = 1000
"""Longest dotted name of a tensor; the official files stay under 60."""
_AGAIN = "download or copy it again"


class TorchFile:
    """The contents of one PyTorch file. Tensors are read one by one, when asked for.

    Args:
        path: a file written by `torch.save`, in the zip format or in the one before torch 1.6.

    Attributes:
        root: what was saved: dicts, lists, numbers, texts, `TensorRef` and `StandIn`.

    Raises:
        CheckpointError: not such a file, cut short, or it names something that is not admitted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place: dict[str, tuple[int, int]] = {}
        self._n_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(64)
        self.root: Any = self._read_zip() if head.startswith(_ZIP_HEAD) else self._read_legacy(head)

    def check(self, ref: TensorRef) -> int:
        """Make sure that the file holds the numbers of a tensor, without reading them.

        Returns:
            The element of the storage behind the tensor's last one.

        Raises:
            CheckpointError: its numbers are not in the file, or it reaches beyond them.
        """
        storage = ref.storage
        at, size = self._place.get(storage.key, (0, -1))
        # What the archive says of an entry's size is the file's own word, too.
        size = min(size, self._n_bytes - at)
        count = math.prod(ref.shape)
        steps = sum((n - 1) * step for n, step in zip(ref.shape, ref.stride, strict=True))
        end = ref.offset + steps + 1 if count else 0
        # A stride of 0 makes a few bytes look like a huge tensor, so the count is checked as well as the reach.
        if max(count, end) > storage.numel or (count and storage.numel * storage.dtype.itemsize > size):
            raise CheckpointError(f"{self._path}: damaged: a tensor of shape {ref.shape} reaches beyond its numbers")
        return end

    def tensor(self, ref: TensorRef) -> torch.Tensor:
        """Read one tensor, contiguous, in the dtype that the file has.

        Raises:
            CheckpointError: its numbers are not in the file, or it reaches beyond them.
        """
        storage, item = ref.storage, ref.storage.dtype.itemsize
        end = self.check(ref)
        if end == 0:
            return torch.empty(ref.shape, dtype=storage.dtype)
        at, _ = self._place[storage.key]
        with self._path.open("rb") as file:
            file.seek(at + ref.offset * item)
            data = bytearray(file.read((end - ref.offset) * item))
        if len(data) != (end - ref.offset) * item:
            raise CheckpointError(f"{self._path}: cut short: the numbers of a tensor are missing; {_AGAIN}")
        return torch.frombuffer(data, dtype=storage.dtype).as_strided(ref.shape, ref.stride).contiguous()

    def _read_zip(self) -> Any:
        try:
            with zipfile.ZipFile(self._path) as archive:
                entries = {entry.filename: entry for entry in archive.infolist()}
                programs = [name for name in entries if name.endswith("/data.pkl")]
                if len(programs) != 1:
                    raise CheckpointError(f"{self._path}: wanted a PyTorch checkpoint, found another zip archive")
                if len(entries) > _MAX_ENTRIES or any(e.compress_type != zipfile.ZIP_STORED for e in entries.values()):
                    raise CheckpointError(
                        f"{self._path}: refused: wanted an archive that torch.save wrote: not compressed"
                    )
                folder = programs[0].removesuffix("data.pkl")
                if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
                    raise CheckpointError(f"{self._path}: wanted little-endian numbers, found big-endian ones")
                if entries[programs[0]].file_size > MAX_PROGRAM_BYTES:
                    raise CheckpointError(f"{self._path}: refused: its pickle has over {MAX_PROGRAM_BYTES >> 20} MiB")
                program = archive.read(programs[0])
        except CheckpointError:
            raise
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError, struct.error) as error:
            raise CheckpointError(f"{self._path}: cut short or damaged ({error}); {_AGAIN}") from error
        for name, entry in entries.items():
            if name.startswith(f"{folder}data/"):
                self._place[name.removeprefix(f"{folder}data/")] = (self._data_offset(entry), entry.file_size)
        program_length(program, self._path)
        return InertUnpickler(program, self._path).load_inert()

    def _data_offset(self, entry: zipfile.ZipInfo) -> int:
        """Where an entry's bytes begin: behind its local header, whose length only that header tells."""
        with self._path.open("rb") as file:
            file.seek(entry.header_offset)
            header = file.read(30)
        if len(header) < 30 or not header.startswith(_ZIP_HEAD):
            raise CheckpointError(
                f"{self._path}: damaged: entry {entry.filename[:40]!r} is not where it should be; {_AGAIN}"
            )
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        return int(entry.header_offset + 30 + name_length + extra_length)

    def _read_legacy(self, head: bytes) -> Any:
        """Before torch 1.6: magic number, version, system, object, storage names, each a pickle; then the numbers."""
        if not head.startswith(b"\x80"):
            raise CheckpointError(f"{self._path}: wanted PyTorch weights (.pt, .pth), found {describe(head)}")
        data = self._path.read_bytes()
        magic, at, _ = self._program(data, 0)
        if magic != _LEGACY_MAGIC:
            raise CheckpointError(
                f"{self._path}: wanted PyTorch weights (.pt, .pth), found another pickle; it was not run"
            )
        protocol, at, _ = self._program(data, at)
        system, at, _ = self._program(data, at)
        root, at, machine = self._program(data, at)
        keys, at, _ = self._program(data, at)
        if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
            raise CheckpointError(
                f"{self._path}: wanted PyTorch's format {_LEGACY_PROTOCOL}, little-endian; save it anew"
            )
        for key in keys if isinstance(keys, list) else []:
            storage = machine.storages.get(key) if isinstance(key, str) else None
            size = storage.numel * storage.dtype.itemsize if storage else 0
            if storage is None or data[at : at + 8] != struct.pack("<q", storage.numel) or at + 8 + size > len(data):
                raise CheckpointError(
                    f"{self._path}: cut short or damaged: the numbers of a tensor are missing; {_AGAIN}"
                )
            self._place[key] = (at + 8, size)
            at += 8 + size
        return root

    def _program(self, data: bytes, at: int) -> tuple[Any, int, InertUnpickler]:
        """Run the program at `at`; its result, where it ends, and the machine that ran it."""
        window = data[at : at + MAX_PROGRAM_BYTES]
        length = program_length(window, self._path)
        machine = InertUnpickler(window[:length], self._path)
        return machine.load_inert(), at + length, machine


def module_tensors(module: StandIn) -> dict[str, TensorRef]:
    """The state dict of a pickled module: parameters and persistent buffers of its whole tree, by dotted name.

    Raises:
        CheckpointError: the tree is deeper or larger than any network's.
    """
    found: dict[str, TensorRef] = {}
    budget = _MAX_ENTRIES

    def spend(n_entries: int, prefix: str) -> None:
        nonlocal budget
        budget -= n_entries
        if budget < 0 or len(prefix) > _MAX_NAME:
            raise CheckpointError(f"refused: the modules in {module!r} form no tree that a network would have")

    def walk(node: object, prefix: str, depth: int) -> None:
        spend(1 if depth <= _MAX_DEPTH else _MAX_ENTRIES, prefix)
        own = vars(node) if isinstance(node, StandIn) else {}
        passing = own.get("_non_persistent_buffers_set")
        for group in ("_parameters", "_buffers"):
            items = _items(own.get(group))
            # Many modules may share one group, each under a name of its own: a small file would make a huge tree.
            spend(len(items), prefix)
            for name, value in items:
                if isinstance(value, TensorRef) and not (isinstance(passing, set) and name in passing):
                    spend(0, prefix + name)
                    found[prefix + name] = value
        for name, child in _items(own.get("_modules")):
            walk(child, f"{prefix}{name}.", depth + 1)

    walk(module, "", 0)
    return found


def _items(group: object) -> list[tuple[str, object]]:
    return [(key, value) for key, value in group.items() if isinstance(key, str)] if isinstance(group, dict) else []


def describe(head: bytes) -> str:
    """What a file seems to be, from its first bytes."""
    if not head:
        return "an empty file"
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return "a picture"
    if head.lstrip()[:1] == b"<":
        return "a web page (a download that ended at a login or an error page?)"
    if head.startswith(b"version https://gi"):
        return "a Git LFS pointer; run `git lfs pull`"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return "a text file"
    return "another kind of file"
