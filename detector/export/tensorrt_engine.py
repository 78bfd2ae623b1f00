"""From an ONNX graph to a TensorRT engine.

Up to TensorRT 10 a network may be weakly typed: its graph is in 32 bits, and flags allow the builder to compute in
fewer. From 11 on every network is strongly typed: it computes what the graph says, in the types of the graph.
"""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import torch

from detector.backends import Precision
from detector.export.artefacts import FOLDER
from detector.export.header import InputForm
from detector.export.onnx_file import INPUT
from detector.export.tensorrt_api import Here, TensorRtLog, here, major_version
from detector.export.tensorrt_shapes import Profile, input_shape
from detector.zoo import cache_dir

_log = logging.getLogger(__name__)


class Recipe(NamedTuple):
    """What is to be built.

    Attributes:
        graph: an ONNX model, serialised.
        form: of its input.
        precision: what the engine may compute in.
        profiles: shapes of its input.
        typed: the types of the graph hold, also in TensorRT 10.
        calibrator: of TensorRT 10, for int8 where the graph has no quantisation in it; else None.
    """

    graph: bytes
    form: InputForm
    precision: Precision
    profiles: tuple[Profile, ...]
    typed: bool = False
    calibrator: Any = None


def build_engine(trt: Any, recipe: Recipe, device: torch.device) -> bytes:
    """Build an engine for this GPU. Takes minutes; what was measured is kept, so that the next one takes less.

    Raises:
        BackendError: TensorRT cannot build it; says what it said first.
    """
    log = TensorRtLog(trt)
    place = here(trt, device)
    _log.warning(
        "building a TensorRT engine in %s for %s: this takes minutes, once per model, GPU and TensorRT version",
        recipe.precision,
        place.gpu,
    )
    with torch.cuda.device(device):
        log.done("loading its plugins", trt.init_libnvinfer_plugins(log.logger, ""))
        builder = log.made("starting", lambda: trt.Builder(log.logger))
        network = log.made("making a network", lambda: builder.create_network(_creation_flags(trt, recipe)))
        parser = trt.OnnxParser(network, log.logger)
        if not parser.parse(recipe.graph):
            raise log.failure("reading the ONNX graph", _parser_errors(parser))
        config = builder.create_builder_config()
        _set_precision(trt, config, recipe)
        _add_profiles(log, builder, config, recipe)
        timing = _TimingCache(place)
        timing.attach(log, config)
        engine = log.made("building the engine", lambda: builder.build_serialized_network(network, config))
        timing.keep(config)
        return bytes(engine)


def _creation_flags(trt: Any, recipe: Recipe) -> int:
    """In TensorRT 11 there is nothing to choose; 10 takes the flag's number as a bit."""
    if major_version(trt) >= 11 or not recipe.typed:
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _parser_errors(parser: Any) -> str:
    return "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))


def _set_precision(trt: Any, config: Any, recipe: Recipe) -> None:
    if recipe.precision == "fp32":
        # Else matrix units round the factors of each product to 10 bits.
        config.clear_flag(trt.BuilderFlag.TF32)
    if recipe.typed or major_version(trt) >= 11:
        return
    if recipe.precision in ("fp16", "int8"):
        config.set_flag(trt.BuilderFlag.FP16)
    if recipe.precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
        if recipe.calibrator is not None:
            config.int8_calibrator = recipe.calibrator


def _add_profiles(log: TensorRtLog, builder: Any, config: Any, recipe: Recipe) -> None:
    for number, wanted in enumerate(recipe.profiles):
        profile = builder.create_optimization_profile()
        shapes = [input_shape(bhw, recipe.form) for bhw in wanted]
        log.made("setting the shapes", lambda p=profile, s=shapes: p.set_shape(INPUT, *s) or True)
        log.done("adding a shape profile", config.add_optimization_profile(profile) == number)
    if recipe.calibrator is not None:
        profile = builder.create_optimization_profile()
        profile.set_shape(INPUT, *[recipe.calibrator.shape] * 3)
        log.done("setting the shape of calibration", config.set_calibration_profile(profile))


class _TimingCache:
    """How long each kernel took on this GPU: most of a build is measuring that."""

    def __init__(self, place: Here) -> None:
        name = "-".join("".join(c if c.isalnum() or c == "." else "_" for c in part) for part in place)
        self._path: Path = cache_dir() / FOLDER / f"tensorrt-timing-{name}.cache"

    def attach(self, log: TensorRtLog, config: Any) -> None:
        """Start from what earlier builds measured; from nothing where that is none or of no use here."""
        content = self._path.read_bytes() if self._path.is_file() else b""
        cache = config.create_timing_cache(content)
        if content and not (cache is not None and config.set_timing_cache(cache, False)):
            _log.info("%s: not of use to this TensorRT; measuring again", self._path)
            cache, content = config.create_timing_cache(b""), b""
        if not content:
            log.done("making a timing cache", cache is not None and config.set_timing_cache(cache, False))

    def keep(self, config: Any) -> None:
        """Write what is known now. Several builds at a time each write a whole file; the last one stays."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._path.parent, prefix=".timing-", delete=False) as file:
            file.write(config.get_timing_cache().serialize())
        Path(file.name).replace(self._path)
