"""What is measured, what is kept, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.tune.clip import Clip
from pipeline.tune.measuring import Measurements, Measuring
from pipeline.tune.space import Space, usual_weights, weights_digest
from pipeline.tune.store import Store


class Bench:
    """Measures with a fake machine, and keeps in one folder."""

    def __init__(self, machine: Any, clip: Clip, weights: list[str], folder: Path) -> None:
        self.machine, self.clip, self.weights, self.folder = machine, clip, weights, folder
        self.said: list[str] = []

    def measure(self, **changed: Any) -> Measurements:
        space = Space(
            **{"weights": self.weights, "img_sizes": (100, 200), "precisions": ("fp32",), **changed.pop("space", {})}
        )
        self.machine.jobs.clear()
        self.said.clear()
        values: dict[str, Any] = {
            "groups": list(space.groups()),
            "clip": self.clip,
            "store": Store(self.folder),
            "machine": {"cpu": "CPU"},
            "digests": {name: weights_digest(name) for name in self.weights},
            "keeps_slow": False,
            "measure_s": 1e6,
            "say": self.said.append,
            "do": self.machine.do,
        }
        return Measuring(**{**values, **changed}).measure()


@pytest.fixture
def bench(fake_machine: Any, clip: Clip, weights: list[str], tmp_path: Path) -> Bench:
    return Bench(fake_machine, clip, weights, tmp_path / "kept")


def test_each_backend_is_timed_and_the_fastest_finds_the_boxes(bench: Bench) -> None:
    found = bench.measure()
    assert bench.machine.jobs[:4] == [
        ("time", "light 100 openvino fp32"),
        ("time", "light 100 onnxruntime fp32"),
        ("time", "light 100 eager fp32"),
        ("find", "light 100 openvino fp32"),
    ]
    # At the next size neither what failed nor what was twice as slow is tried again.
    at_200 = [job for job in bench.machine.jobs if "200" in job[1]]
    assert at_200 == [(what, f"{name} 200 openvino fp32") for name in ("light", "heavy") for what in ("time", "find")]
    assert len(found.timings) == 6
    assert {network.img_size for network in found.found} == {100, 200}
    reasons = {found.labels[one]: why for one, why in found.left_out.items()}
    assert reasons["light.pt onnxruntime fp32 200 px batch 1 on cpu"] == "2.0 times as slow as openvino at 100 px"
    assert reasons["light.pt eager fp32 200 px batch 1 on cpu"] == "eager: wanted its package, found none"
    assert bench.said[0] == "[1/16] timing light.pt openvino fp32 100 px batch 1 on cpu"
    assert any(text.startswith("left out: light.pt eager") for text in bench.said)
    assert bench.said[-1].startswith("[16/16] boxes of 50 frames, heavy.pt openvino")
    assert "left" in bench.said[-1]


def test_what_computes_in_another_precision_finds_boxes_of_its_own(bench: Bench) -> None:
    space = {"precisions": None, "backends": ("openvino", "onnxruntime"), "img_sizes": (100,)}
    found = bench.measure(space=space, keeps_slow=True)
    finds = [name for what, name in bench.machine.jobs if what == "find"]
    assert finds == [
        f"{name} 100 {backend} auto" for name in ("light", "heavy") for backend in ("openvino", "onnxruntime")
    ]
    # The quickest comes first.
    assert [network.precision for network in found.found] == ["bf16", "fp32", "bf16", "fp32"]
    assert bench.said[-1].startswith("[8/8] ")


def test_backends_that_are_named_are_measured_however_slow(bench: Bench) -> None:
    found = bench.measure(space={"backends": ("openvino", "onnxruntime")}, keeps_slow=True)
    assert len(found.timings) == 8
    assert not found.left_out


@pytest.mark.parametrize("n_done", [0, 1, 2, 4, 7])
def test_what_was_ended_goes_on_where_it_was(n_done: int, bench: Bench) -> None:
    all_of_it = bench.measure(store=Store(bench.folder / "other"))
    n_jobs = len(bench.machine.jobs)
    bench.machine.stop_at = n_done
    with pytest.raises(KeyboardInterrupt):
        bench.measure()
    done = list(bench.machine.jobs)
    bench.machine.stop_at = None
    again = bench.measure()
    # What failed is tried again; what was measured is not.
    failed = [job for job in done if "eager" in job[1]]
    assert len(bench.machine.jobs) == n_jobs - n_done + len(failed)
    assert not {job for job in done if "eager" not in job[1]} & set(bench.machine.jobs)
    assert again.timings == all_of_it.timings
    assert again.found.keys() == all_of_it.found.keys()
    bench.measure()
    assert {job for job in bench.machine.jobs if "eager" not in job[1]} == set()


def test_what_a_measurement_depends_on_makes_it_another(bench: Bench, weights: list[str]) -> None:
    bench.measure()
    n_jobs = len(bench.machine.jobs)
    bench.measure(machine={"cpu": "another CPU"})
    assert len(bench.machine.jobs) == n_jobs
    bench.clip = Clip(**{**bench.clip.to_json(), "digest": "1" * 64})
    bench.measure()
    assert len(bench.machine.jobs) == n_jobs
    Path(weights[0]).write_text("trained further")
    bench.measure()
    assert {job[1].split()[0] for job in bench.machine.jobs if "eager" not in job[1]} == {"light"}
    # How long a frame takes does not depend on how many are looked at.
    bench.clip = Clip(**{**bench.clip.to_json(), "n_frames": 40})
    bench.measure()
    assert {what for what, name in bench.machine.jobs if "eager" not in name} == {"find"}


def test_kept_files_say_what_they_are_and_broken_ones_are_measured_again(bench: Bench) -> None:
    bench.measure()
    files = sorted(bench.folder.glob("*.json"))
    document = json.loads(files[0].read_text())
    assert "may be deleted" in document["what"]
    assert document["facts"]["clip"]["digest"] == bench.clip.digest
    assert len(files) == 6 + 4
    for file in files:
        file.write_text(file.read_text()[:-20])
    next(bench.folder.glob("*.npz")).write_bytes(b"no zip")
    assert len(bench.measure().timings) == 6
    next(bench.folder.glob("*.npz")).write_bytes(b"no zip")
    bench.measure()
    assert [what for what, name in bench.machine.jobs if "eager" not in name] == ["find"]


def test_fresh_takes_nothing_from_before(bench: Bench) -> None:
    bench.measure()
    n_jobs = len(bench.machine.jobs)
    bench.measure(store=Store(bench.folder, use_kept=False))
    assert len(bench.machine.jobs) == n_jobs


def test_a_file_of_one_size_is_measured_at_that_size(bench: Bench) -> None:
    bench.machine.only_px["light"] = 200
    found = bench.measure()
    assert {one.img_size for one in found.timings if "light" in one.weights} == {200}
    assert any("runs at 200 only" in reason for reason in found.left_out.values())


def test_what_does_not_fit_into_the_time_is_left_out(bench: Bench) -> None:
    seconds = 0.0

    def do(job: Any) -> dict[str, Any]:
        nonlocal seconds
        seconds += 10.0
        done: dict[str, Any] = bench.machine.do(job)
        return done

    # Room for the first size of the light model: three timings (one fails) and a pass over the frames.
    found = bench.measure(measure_s=55.0, clock_s=lambda: seconds, do=do)
    assert seconds <= 55
    assert {(Path(one.weights).stem, one.img_size) for one in found.timings} == {("light", 100)}
    assert set(found.left_out.values()) >= {"no time left"}


@pytest.mark.parametrize(
    ("suffix", "backends", "expected"),
    [
        (".onnx", None, [("openvino", "auto"), ("onnxruntime", "auto")]),
        (".xml", None, [("openvino", "auto")]),
        (".pt", ("eager",), [("eager", "fp32"), ("eager", "bf16")]),
    ],
)
def test_exported_files_run_where_they_can(
    suffix: str, backends: tuple[str, ...] | None, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_text("")
    space = Space([str(path)], (64,), backends=backends, precisions=("fp32", "bf16"))
    assert [(one.backend, one.precision) for group in space.groups() for one in group] == expected


def test_floats_of_one_network_are_looked_at_together(weights: list[str]) -> None:
    (group,) = Space(weights[:1], (64,)).groups()
    assert [(one.backend, one.precision) for one in group] == [
        ("openvino", "auto"),
        ("onnxruntime", "auto"),
        ("eager", "auto"),
    ]
    on_gpu = [one.backend for group in Space(weights[:1], (64,), device="cuda").groups() for one in group]
    assert on_gpu == ["onnxruntime", "tensorrt", "eager"]


def test_a_file_that_no_named_backend_runs(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text("")
    with pytest.raises(ValueError, match=r"wanted a backend that runs \.xml files \(openvino\), found eager"):
        list(Space([str(path)], (64,), backends=("eager",)).groups())


def test_without_weights_the_default_model_is_tried_first() -> None:
    assert usual_weights()[0] == "street"
