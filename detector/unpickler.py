"""A pickle machine that runs nothing.

A `.pt` file is a pickle: a small program that may call anything importable. Here nothing is imported, and nothing that
the file names is called. The program may only name

- tensors, storages, parameters, dtypes: answered by readers of our own, which note what the file says;
- plain containers: OrderedDict, set, torch.Size;
- classes of model code (`models.*`, `torch.nn.modules.*`, `yolox.*`, ...) and of numpy: answered by inert stand-ins,
  which hold what the file says about them and do nothing.

Any other name ends the reading with a CheckpointError.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.core.errors import CheckpointError

MAX_PROGRAM_BYTES = 64 * 2**20
"""Largest pickle program that is run. Tensor data lies outside it: the official ones have less than 2 MiB."""
MAX_COPIED_ITEMS = 2_000_000
"""How many items one program may have copied. Five bytes of program copy a list of any length, so a small file could
ask for all memory; the largest official file copies under 100 000 (attributes of its layers)."""

_DTYPE_OF_STORAGE = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_MODEL_CODE = re.compile(r"(models|utils|yolox|yolo|torch\.nn\.modules|torch\.optim)(\.\w+)*")
"""Modules whose classes become stand-ins: those of the YOLOv7, YOLOX and MIT YOLO programs, and torch's layers."""

_STAND_INS = frozenset(
    {
        "torch.Tensor",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "numpy.ndarray",
        "numpy.dtype",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "_codecs.encode",
    }
)
"""Further names that training checkpoints hold (a best fitness is a numpy array) and whose contents nobody needs."""


class StandIn:
    """Stands for an object of a class that is not loaded. Its attributes are what the file says they are.

    Read what concerns the class itself from `type(stand_in)`: an attribute of the file may hide it.
    """

    qualified_name = ""
    copies: Callable[[int], None] = staticmethod(lambda n_items: None)
    """Told how many items are about to be copied; the machine that made the class counts them."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Forget what the file passes to the class that it believes to call."""

    def __setstate__(self, state: object) -> None:
        """Keep the named attributes of the state; forget any other kind of state."""
        if isinstance(state, dict):
            type(self).copies(len(state))
            self.__dict__.update({key: value for key, value in state.items() if isinstance(key, str)})

    def __repr__(self) -> str:
        return f"<stand-in for {type(self).qualified_name}>"


class _PlainDict(dict[Any, Any]):
    """An OrderedDict of the file, without a place for attributes: one called `items` would hide the method."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Forget the attributes (a state dict has the versions of its modules there)."""


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A row of numbers in the file: its name there, their type and count."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor of the file that is not read yet. Offset and strides count elements of the storage."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def program_length(data: bytes, path: Path) -> int:
    """Length in bytes of the pickle program at the start of `data`, up to and including its STOP.

    Raises:
        CheckpointError: there is no whole program, or it asks for more memory than its own length justifies.
    """
    try:
        for opcode, argument, position in pickletools.genops(data):
            # The machine's memo is an array: a single PUT with a huge index would allocate that many slots.
            if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(data):
                raise CheckpointError(f"{path}: refused: its pickle asks for {argument} memo slots")
            if opcode.name == "STOP" and position is not None:
                return position + 1
    except CheckpointError:
        raise
    except (ValueError, IndexError, OverflowError) as error:
        raise CheckpointError(f"{path}: cut short or not a PyTorch checkpoint; download or copy it again") from error
    raise CheckpointError(f"{path}: cut short: its pickle has no end; download or copy it again")


class InertUnpickler(pickle.Unpickler):
    """Runs one pickle program with the names above and no others.

    Args:
        program: a whole pickle.
        path: the file it is from, for error texts.

    Attributes:
        storages: every storage that the program named, by its key.
    """

    def __init__(self, program: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(program), encoding="latin1")
        self._path = path
        self._classes: dict[str, type[StandIn]] = {}
        self._n_copied = 0
        self._collections = {
            name: _Reader(partial(self._collection, kind))
            for name, kind in (
                ("collections.OrderedDict", _PlainDict),
                ("builtins.set", set),
                ("__builtin__.set", set),
                ("torch.Size", tuple),
            )
        }
        self.storages: dict[str, StorageRef] = {}

    def load_inert(self) -> Any:
        """Run the program: dicts, lists, numbers, texts, TensorRef and StandIn.

        Raises:
            CheckpointError: the program names what is not admitted, or is damaged.
        """
        try:
            return self.load()
        except CheckpointError:
            raise
        except (
            pickle.UnpicklingError,
            EOFError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            OverflowError,
            MemoryError,
            RecursionError,
        ) as error:
            raise CheckpointError(
                f"{self._path}: refused: its pickle is damaged or does what no checkpoint needs "
                f"({type(error).__name__}: {str(error)[:100]})"
            ) from error

    def find_class(self, module: str, name: str) -> Any:
        """The reader, container or stand-in for a global name; never an import."""
        qualified = f"{module}.{name}"
        if qualified in self._collections:
            return self._collections[qualified]
        if qualified in _ANSWERS:
            return _ANSWERS[qualified]
        if (_MODEL_CODE.fullmatch(module) and name.isidentifier()) or qualified in _STAND_INS:
            if qualified not in self._classes:
                own = {"qualified_name": qualified, "copies": staticmethod(self._copies)}
                self._classes[qualified] = type("StandIn", (StandIn,), own)
            return self._classes[qualified]
        raise CheckpointError(
            f"{self._path}: refused: it names {qualified[:100]!r}, which no model weights need; nothing was run"
        )

    def persistent_load(self, pid: Any) -> StorageRef | type[StandIn]:
        """What torch.save writes in place of a storage, and before torch 1.6 also of a module's class with its source.

        A storage is ('storage', type, key, location, number of elements, ...), a class ('module', class, file, source).
        """
        match pid:
            case ("module", type() as cls, *_) if issubclass(cls, StandIn):
                return cls
            case ("storage", torch.dtype() as dtype, str(key), _, int(numel), *view) if numel >= 0 and view in (
                [],
                [None],
            ):
                storage = StorageRef(key, dtype, numel)
                if self.storages.setdefault(key, storage) != storage:
                    raise CheckpointError(f"{self._path}: damaged: storage {key[:40]!r} is described in two ways")
                return storage
        # The text of a few nested tuples can be longer than any memory, so the thing itself is not shown.
        raise CheckpointError(f"{self._path}: refused: a {type(pid).__name__} that is not a storage of torch.save")

    def _copies(self, n_items: int) -> None:
        self._n_copied += n_items
        if self._n_copied > MAX_COPIED_ITEMS:
            raise CheckpointError(f"{self._path}: refused: its pickle copies more than {MAX_COPIED_ITEMS} items")

    def _collection(self, kind: Callable[..., Any], items: Any = ()) -> Any:
        self._copies(len(items))
        return kind(items)


class _Reader:
    """A callable without attributes of its own, so that a pickle cannot leave anything on it."""

    __slots__ = ("_read",)
    _read: Callable[..., Any]

    def __init__(self, read: Callable[..., Any]) -> None:
        object.__setattr__(self, "_read", read)

    def __call__(self, *args: Any) -> Any:
        return self._read(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a reader takes no attribute {name!r}")


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: object) -> TensorRef:
    if not isinstance(storage, StorageRef) or len(shape) != len(stride) or len(shape) > 16:
        raise ValueError("a tensor without a storage, or whose shape and strides differ in length")
    shape, stride = tuple(shape), tuple(stride)
    numbers = (offset, *shape, *stride)
    if any(not isinstance(n, int) or not 0 <= n < 2**48 for n in numbers):
        raise ValueError("a tensor whose offset, shape or strides are no counts")
    return TensorRef(storage, offset, shape, stride)


def _parameter(data: object, *_: object) -> object:
    return data


def _typed(read: Any, _: object, args: Any, *__: object) -> Any:
    if not isinstance(read, _Reader):
        raise ValueError("a tensor that is made by something other than a tensor reader")
    return read(*args)


_ANSWERS: dict[str, Any] = {
    "torch._utils._rebuild_tensor": _Reader(_tensor),
    "torch._utils._rebuild_tensor_v2": _Reader(_tensor),
    "torch._utils._rebuild_parameter": _Reader(_parameter),
    "torch._utils._rebuild_parameter_with_state": _Reader(_parameter),
    "torch._tensor._rebuild_from_type_v2": _Reader(_typed),
    **{f"torch.{name}": dtype for name, dtype in _DTYPE_OF_STORAGE.items()},
    **{str(dtype): dtype for dtype in _DTYPE_OF_STORAGE.values()},
}
