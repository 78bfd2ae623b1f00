"""The files in examples/ that other programs read: they parse, and what they name exists."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.cli import logs
from pipeline.cli import run as run_verb
from pipeline.config.build import load_run_config
from pipeline.config.outputs import sink_config
from pipeline.core.control import Histogram, QueueDepth, RunMeasures, SinkAccount, SourceState, SourceStatus
from pipeline.core.event import Event, EventKind
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.scene import Closing, Scene, SceneLayout
from sinks.address import DEFAULT_METRICS_PORT, OutputKind, parse_output
from sinks.run_metrics import RunMetrics

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
ENVIRONMENT = {
    "CAMERA_URL": "rtsp://me:c4n4ry-pw@camera/stream",
    "MQTT_PASSWORD": "c4n4ry-pw",
    "MQTT_HOST": "broker",
    "WEB_TOKEN": "0123456789abcdef0123",
}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


# -- Grafana and Prometheus -------------------------------------------------------------------------------------------


class FullControl:
    """A run that has something of everything."""

    def sources(self) -> tuple[SourceStatus, ...]:
        dropped = {"newer": 1}
        costs = {"emission": LatencyCost(1, 0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)}
        return (SourceStatus("cam", SourceState.LIVE, True, 8, 8, 2, 1, dropped, 1.0, 1.0, 1.0, 1.0, {}, None, costs),)

    def measures(self, bounds_s: tuple[float, ...]) -> RunMeasures:
        histogram = Histogram((0,) * len(bounds_s), 1, 1.0)
        counts = {"sink": SinkAccount(1, 1, 0, {"lost": 1})}
        return RunMeasures({"cam": histogram}, {"detect": histogram}, {"detect": QueueDepth(0, 1)}, counts)


@pytest.fixture
def labels_by_name(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Every series that /metrics may have: its name and its labels."""
    from prometheus_client.parser import text_string_to_metric_families

    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 1,
        mem_get_info=lambda _index: (1, 2),
        memory_allocated=lambda _index: 1,
        memory_reserved=lambda _index: 1,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    metrics = RunMetrics(("person",))
    metrics.watch(FullControl())  # type: ignore[arg-type]
    layout = SceneLayout(("door",), (("in", "out"),), np.zeros((1, 2, 2)), ("hall",), (np.zeros((4, 2)),))
    scene = Scene(layout, np.zeros((1, 2), int), np.zeros(1, int), np.zeros(1, int), np.zeros(1, bool))
    frame = SimpleNamespace(source_id="cam")
    found = SimpleNamespace(xyxy=np.zeros((1, 4)), confidence=np.ones(1), class_id=np.zeros(1, int))
    metrics.add(SimpleNamespace(frame=frame, tracked=False, detections=_Sized(found), events=(), scene=scene))  # type: ignore[arg-type]
    metrics.end_source(Closing("cam", 1.0, 0, (Event("0" * 16, EventKind.CROSSING, "door", "cam", 0.0, 0.0, 0, 0),)))
    series: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    return series


class _Sized:
    def __init__(self, inner: SimpleNamespace) -> None:
        self.__dict__.update(inner.__dict__)

    def __len__(self) -> int:
        return len(self.xyxy)  # type: ignore[attr-defined]


def expressions(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        yield from (target["expr"] for target in panel.get("targets", ()))
        yield from expressions(panel.get("panels", []))


def test_the_dashboard_asks_for_figures_that_exist(labels_by_name: dict[str, set[str]]) -> None:
    dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text(encoding="utf-8"))
    queries = [variable["query"] for variable in dashboard["templating"]["list"]]
    asked = [*expressions(dashboard["panels"]), *(one["query"] for one in queries if isinstance(one, dict))]
    named: set[str] = set()
    for text in asked:
        assert text.count("(") == text.count(")")
        assert text.count("{") == text.count("}")
        for name, chosen in re.findall(r"\b((?:tracklight|process)_\w+)(?:\{([^}]*)\})?", text):
            assert name in labels_by_name, f"{name} in {text}"
            # job and instance are Prometheus' own.
            wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen)) - {"job", "instance"}
            assert wanted <= labels_by_name[name], f"{name} has no {wanted - labels_by_name[name]}"
            named.add(name)
        for group in re.findall(r"by \(([^)]*)\)", text):
            known = set().union(*(labels_by_name[name] for name in labels_by_name if name in text))
            assert {label.strip() for label in group.split(",")} <= known, text
    everything = {
        re.sub(r"_(count|sum|bucket)$", "", name) for name in labels_by_name if name.startswith("tracklight_")
    }
    shown = {re.sub(r"_(count|sum|bucket)$", "", name) for name in named}
    # Emitted frames are what the rate shows.
    assert everything - shown == {"tracklight_frames_emitted_total"}


def test_panels_do_not_overlap() -> None:
    dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_prometheus_asks_where_the_run_answers() -> None:
    config = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"tracklight:{DEFAULT_METRICS_PORT}"]}]


# -- what starts the program ------------------------------------------------------------------------------------------


def service_words() -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", (EXAMPLES / "tracklight.service").read_text(), re.MULTILINE)
    return shlex.split(line)[1:]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def compose_words(service: str) -> list[str]:
    return [word.replace("$$", "$") for word in compose()["services"][service]["command"]]


def parsed(words: list[str]) -> argparse.Namespace:
    assert words[0] == "run"
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    logs.add_arguments(parser)
    run_verb.add_arguments(parser)
    return parser.parse_args(words[1:])


@pytest.mark.parametrize("where", ["service", "tracklight-cpu", "tracklight-cuda"])
def test_the_program_takes_the_command_lines(where: str) -> None:
    args = parsed(service_words() if where == "service" else compose_words(where))
    assert args.log_format == "json"
    assert args.config == "/etc/tracklight/service.yaml"
    config = load_run_config(str(EXAMPLES / "service.yaml"), {}, args.set or [])
    outputs = {parse_output(text).kind: parse_output(text).value for text in config.outputs}
    assert list(outputs) == [OutputKind.WEB, OutputKind.METRICS, OutputKind.MQTT]
    assert config.sources == (ENVIRONMENT["CAMERA_URL"],)
    metrics = sink_config(config, "metrics", outputs[OutputKind.METRICS])
    # In a container others must reach it; on a machine of one's own only that machine.
    assert metrics.host == ("127.0.0.1" if where == "service" else "0.0.0.0")
    web = sink_config(config, "web", outputs[OutputKind.WEB])
    assert (web.host, web.token) == (metrics.host, ENVIRONMENT["WEB_TOKEN"])
    assert sink_config(config, "mqtt", outputs[OutputKind.MQTT]).spool == Path("spool/mqtt")


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (EXAMPLES / "tracklight.service").read_text()
    unit = tmp_path / "tracklight.service"
    unit.write_text(text.replace("/opt/tracklight/bin/tracklight", shutil.which("true") or "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_compose_names_what_is_there() -> None:
    composed = compose()
    services = composed["services"]
    for name, service in services.items():
        for place in service.get("volumes", ()):
            here, inside = place.split(":")[:2]
            assert inside.startswith("/"), name
            if here.startswith("."):
                assert (EXAMPLES / here).is_file(), name
            else:
                assert here in composed["volumes"], name
        assert set(service.get("depends_on", ())) <= set(services)
        assert {one["source"] for one in service.get("configs", ())} <= set(composed["configs"])
        if "build" in service:
            build = service["build"]
            assert (EXAMPLES / build["context"] / build["dockerfile"]).is_file()
        # Nothing is offered to the network that a person has not opened.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    for config in composed["configs"].values():
        assert yaml.safe_load(config["content"])["apiVersion"] == 1
    # Every variable that the configuration file reads is handed to the container.
    wanted = set(re.findall(r"\$\{(\w+)\}", (EXAMPLES / "service.yaml").read_text()))
    for name in ("tracklight-cpu", "tracklight-cuda"):
        assert wanted == set(services[name]["environment"]) == set(ENVIRONMENT)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_dockerfiles_copy_what_is_there_and_install_extras_that_exist(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    copied = [words.split()[1:-1] for words in re.findall(r"^COPY (?!--from).*$", text, re.MULTILINE)]
    paths = {word for words in copied for word in words}
    assert all((ROOT / path).exists() for path in paths)
    project = (ROOT / "pyproject.toml").read_text()
    packages = re.search(r"^include = \[(.*)\]$", project, re.MULTILINE)
    assert packages is not None
    assert {one.strip(' "*') for one in packages[1].split(",")} <= paths
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', text)
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))
    # One stage compiles, the other runs, as somebody who is not root.
    assert [line.split()[0] for line in re.findall(r"^(?:FROM|USER) .*$", text, re.MULTILINE)] == [
        "FROM",
        "FROM",
        "USER",
    ]
    for form in re.findall(r"^\s*(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE):
        assert all(isinstance(word, str) for word in json.loads(form))


def test_mosquitto_takes_its_configuration(tmp_path: Path) -> None:
    import socket
    import threading

    mosquitto = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if mosquitto is None:
        pytest.skip("mosquitto is not installed (Debian: mosquitto)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "tracklight", "secret"], check=True, capture_output=True)
    text = (EXAMPLES / "mosquitto.conf").read_text()
    text = text.replace("/mosquitto/data/", f"{tmp_path}/").replace("listener 1883", f"listener {port} 127.0.0.1")
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"{text}user root\n")
    process = subprocess.Popen([mosquitto, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        waited = threading.Event()
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            waited.wait(0.01)
        publish = ["mosquitto_pub", "-p", str(port), "-t", "x", "-m", "1", "-u", "tracklight", "-P"]
        refused = subprocess.run([*publish, "wrong"], capture_output=True, check=False)
        taken = subprocess.run([*publish, "secret"], capture_output=True, check=False)
        assert refused.returncode != 0
        assert taken.returncode == 0
    finally:
        process.terminate()
        process.wait()
