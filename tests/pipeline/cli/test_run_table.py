"""The table at the end of a run."""

from __future__ import annotations

import pytest

from pipeline.cli.run_table import print_table
from pipeline.core.latency_cost import LatencyCost
from pipeline.runtime.latency import Percentiles
from pipeline.runtime.report import RunReport, SourceReport, StreamingReport

MS = Percentiles(9, 20.0, 30.0, 40.0, 22.0, 41.0)
COST = LatencyCost(90, 1, 84.4, 2.53, 0.7, 0.25, 0.1, 0.5, 0.02, 0.01, 0.875, 0.125)


def test_what_latency_costs(capsys: pytest.CaptureFixture[str]) -> None:
    display = LatencyCost(90, 1, 120.0, 3.6, 0.6, 0.3, 0.2, 0.6, 0.02, 0.01, 0.75, 0.25, 11.04)
    blind = LatencyCost(90, 1, 120.0, 3.6, None, None, None, None, None, None, None, None)
    streaming = {
        "[door]": StreamingReport("", MS, COST, display),
        "dark": StreamingReport("", None, blind),
        "file": StreamingReport("none: recorded"),
    }
    sources = {name: SourceReport(10, 9, {"newer": 1}, {}, MS, None) for name in [*streaming, "never opened"]}
    report = RunReport("completed", 1.0, 9.0, "detect", MS, sources, {}, {}).with_streaming(streaming)
    print_table(report, [])
    lines = [line for line in capsys.readouterr().err.splitlines() if "latency, estimated" in line]
    assert lines == [
        "[door]: lost to latency, estimated: at emission 12% of AP50 (boxes 84 ms, 2.5 frames old); "
        "at display 25% of AP50, 11.0 points (boxes 120 ms, 3.6 frames old)",
        "dark: lost to latency, estimated: not known",
    ]


@pytest.mark.parametrize(
    ("overload", "line"),
    [
        ({}, None),
        (
            {"policy": "every_nth", "every_nth": 3, "filled": 20},
            "overload: every_nth: 20 frames filled in",
        ),
        (
            {
                "policy": "best",
                "rungs": [
                    {"name": "640", "time_s": 12.4},
                    {"name": "512", "time_s": 0.0},
                    {"name": "416", "time_s": 7.0},
                ],
                "n_changes": 3,
            },
            "overload: best: 640 for 12 s, 416 for 7 s, 3 changes",
        ),
        ({"policy": "best", "rungs": []}, "overload: best: nothing gave way"),
    ],
)
def test_what_gave_way(overload: dict[str, object], line: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(RunReport("completed", 1.0, 9.0, "detect", MS, {}, {}, {}, overload=overload), [])
    found = [text for text in capsys.readouterr().err.splitlines() if text.startswith("overload")]
    assert found == ([] if line is None else [line])
