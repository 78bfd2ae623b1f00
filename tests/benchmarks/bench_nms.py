"""Time from what a network gives to boxes, on one core: candidates of all kinds, and logits of real heads.

    taskset -c 0 python tests/benchmarks/bench_nms.py [--json out.json]

Every build of the code is timed in turn on the same numbers, after a check that they give the same boxes. "above" is
how many places pass the confidence threshold, "boxes" what is left after suppression. Two ways to read "25,200
candidates with 300 survivors": 300 of them pass the threshold, or all pass it and 300 are left of 25,200 that overlap.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from detector import box_kernels
from detector.head_spec import HeadSpec
from detector.nms import Kept, NmsSettings, non_max_suppression
from detector.postprocess import boxes_of_maps

TINY = HeadSpec(
    "yolov7",
    (8, 16, 32),
    (
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    ),
    80,
)
NANO = HeadSpec("yolox", (8, 16, 32), (), 80)
VALIDATION = NmsSettings(conf_thres=0.001, iou_thres=0.65, multi_label=True)
SECONDS = 0.5
"""Each build is timed for so long, in turns of one call."""


@dataclass(frozen=True)
class Case:
    """One thing to time; `wanted_ms` is the bar that it has to be under."""

    name: str
    above: int
    run: Callable[[], list[Kept]]
    wanted_ms: float | None = None


def rows(n: int, above: int, objects: int, num_classes: int = 80) -> torch.Tensor:
    """Decoded candidates (1, n, 5 + nc): `above` of them lie on `objects` objects, in any order; the rest is noise."""
    rng = np.random.default_rng(0)
    table = np.zeros((n, 5 + num_classes), np.float32)
    table[:, :4] = rng.uniform(10, 600, (n, 4))
    table[:, 4] = rng.uniform(0, 0.01, n)
    table[:, 5:] = rng.uniform(0, 0.1, (n, num_classes))
    chosen, number = rng.permutation(n)[:above], np.arange(above) % objects
    columns = int(np.ceil(np.sqrt(objects)))
    table[chosen, :2] = 40 * np.stack([number % columns, number // columns], 1) + rng.normal(0, 1, (above, 2))
    table[chosen, 2:4] = 30 + rng.normal(0, 1, (above, 2))
    table[chosen, 4] = rng.uniform(0.5, 1, above)
    table[chosen, 5 + number % num_classes] = rng.uniform(0.8, 1, above)
    return torch.from_numpy(table)[None]


def maps(head: HeadSpec, above: int, input_hw: tuple[int, int] = (384, 640)) -> list[torch.Tensor]:
    """Logits of one image with `above` places that are surely something, spread over the levels."""
    rng = np.random.default_rng(0)
    levels = []
    for stride in head.strides:
        ny, nx = input_hw[0] // stride, input_hw[1] // stride
        level = rng.normal(-9, 0.5, (head.num_anchors, 5 + head.num_classes, ny * nx)).astype(np.float32)
        level[:, :4] += 9
        share = (
            head.num_anchors * ny * nx / sum(head.num_anchors * input_hw[0] * input_hw[1] / s**2 for s in head.strides)
        )
        places = rng.permutation(head.num_anchors * ny * nx)[: round(share * above)]
        anchor, cell = places // (ny * nx), places % (ny * nx)
        level[anchor, 4, cell] = 2
        level[anchor, 5 + places % head.num_classes, cell] = 3
        levels.append(torch.from_numpy(level.reshape(1, -1, ny, nx)))
    return levels


def cases() -> list[Case]:
    """All that is timed."""
    usual = NmsSettings()
    agnostic = NmsSettings(agnostic=True)
    few, all_above, small = rows(25_200, 300, 300), rows(25_200, 25_200, 300), rows(300, 300, 60)
    one_class = rows(25_200, 25_200, 300, num_classes=1)
    tiny, nano, validation = maps(TINY, 50), maps(NANO, 50), maps(TINY, 3000)
    last = [level.contiguous(memory_format=torch.channels_last) for level in tiny]
    return [
        Case("rows 25,200 x 85", 300, lambda: non_max_suppression(few, usual), 1.0),
        Case("rows 25,200 x 85", 25_200, lambda: non_max_suppression(all_above, usual), 1.0),
        Case("rows 25,200 x 85, agnostic", 25_200, lambda: non_max_suppression(all_above, agnostic)),
        Case("rows 25,200 x 6", 25_200, lambda: non_max_suppression(one_class, usual)),
        Case("rows 300 x 85", 300, lambda: non_max_suppression(small, usual), 0.15),
        Case("yolov7-tiny 640x384, logits", 50, lambda: boxes_of_maps(tiny, TINY, usual), 0.3),
        Case("the same, channels last", 50, lambda: boxes_of_maps(last, TINY, usual)),
        Case("YOLOX 640x384, logits", 50, lambda: boxes_of_maps(nano, NANO, usual)),
        Case("yolov7-tiny, as in validation", 3000, lambda: boxes_of_maps(validation, TINY, VALIDATION)),
    ]


def measure(case: Case, builds: list[str]) -> tuple[int, dict[str, tuple[float, float]]]:
    """How many boxes there are, and best and median milliseconds by build.

    Raises:
        SystemExit: two builds give different boxes.
    """
    results, spent = {}, {build: [0.0] for build in builds}
    for build in builds:
        box_kernels.DEFAULT = box_kernels.load_kernels(build)
        [results[build]] = case.run()
        spent[build].clear()
    for parts in zip(*(kept[:3] for kept in results.values()), strict=True):
        if any(not np.array_equal(part, parts[0]) for part in parts):
            raise SystemExit(f"{case.name}: {' and '.join(builds)} give different boxes")
    while min(sum(times) for times in spent.values()) < SECONDS * 1e3:
        for build in builds:
            box_kernels.DEFAULT = box_kernels.load_kernels(build)
            began_ns = time.perf_counter_ns()
            case.run()
            spent[build].append((time.perf_counter_ns() - began_ns) / 1e6)
    figures = {build: (min(times), statistics.median(times)) for build, times in spent.items()}
    return len(results[builds[0]].xyxy), figures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time what comes behind the network, on one core.")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    target = parser.parse_args().json
    torch.set_num_threads(1)
    builds = ["cython", "torch"] if box_kernels.BACKEND == "cython" else ["torch"]
    print("milliseconds: best (median)\n")
    print(f"{'':32s}{'above':>7s}{'boxes':>7s}" + "".join(f"{build:>18s}" for build in builds) + f"{'wanted':>10s}")
    records = []
    for case in cases():
        n_boxes, figures = measure(case, builds)
        cells = "".join(f"{f'{best:.3f} ({median:.3f})':>18s}" for best, median in figures.values())
        print(
            f"{case.name:32s}{case.above:7d}{n_boxes:7d}{cells}{f'<= {case.wanted_ms}' if case.wanted_ms else '':>10s}"
        )
        by_build = {build: {"best_ms": best, "median_ms": median} for build, (best, median) in figures.items()}
        records.append(
            {"case": case.name, "above": case.above, "boxes": n_boxes, "wanted_ms": case.wanted_ms} | by_build
        )
    if target:
        machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        target.write_text(json.dumps({**machine, "cases": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
