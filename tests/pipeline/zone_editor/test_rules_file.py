from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.analytics import analytics_config
from pipeline.config.yaml_file import read_yaml
from pipeline.core.errors import ConfigError
from pipeline.zone_editor.rules_file import RulesFile

SQUARE = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]
BOW_TIE = [[0.25, 0.25], [0.75, 0.75], [0.75, 0.25], [0.25, 0.75]]
SIZE = (640, 360)


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def page(zones: list[Any] | None = None, lines: list[Any] | None = None, plane: Any = None) -> dict[str, Any]:
    return {"zones": zones or [], "lines": lines or [], "ground_plane": plane}


def test_what_is_drawn_is_what_a_run_reads(tmp_path: Path) -> None:
    path = tmp_path / "below" / "rules.yaml"
    drawn = page(
        [{"name": "Table", "polygon": SQUARE, "loiter_s": 30}], [{"name": "Door", "points": [[0, 0.5], [1, 0.5]]}]
    )
    assert RulesFile(path, "yard", SIZE).save(drawn) == []
    rules = analytics_config(read_yaml(path)).sources["yard"]
    assert rules.units == "fraction"
    assert rules.zones[0].polygon == tuple(map(tuple, SQUARE))
    assert rules.zones[0].loiter_s == 30
    assert rules.lines[0].points == ((0, 0.5), (1, 0.5))
    assert RulesFile(path, "yard", SIZE).load() == drawn


def test_each_shape_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    RulesFile(path, "yard", SIZE).save(page([{"name": "Table", "polygon": SQUARE}]))
    assert "polygon: [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]" in path.read_text()


def test_all_else_in_the_file_is_kept(tmp_path: Path) -> None:
    other = {"units": "px", "zones": [{"name": "Gate", "polygon": [[1, 1], [9, 1], [9, 9]]}]}
    own = {"anchor": "center", "heatmap": {"columns": 32}, "stitch": {"gap_s": 2.0}}
    zone = {
        "name": "Table",
        "polygon": SQUARE,
        "band_px": 3.0,
        "motion": {"max_speed": 9.0, "direction": [[0.1, 0.1], [0.9, 0.9]]},
    }
    path = write(tmp_path / "rules.yaml", {"sources": {"other": other, "yard": {**own, "zones": [zone]}}})
    file = RulesFile(path, "yard", SIZE)
    loaded = file.load()
    loaded["zones"][0]["loiter_s"] = 5
    assert file.save(loaded) == []
    sources = yaml.safe_load(path.read_text())["sources"]
    assert sources["other"] == other
    assert sources["yard"] == {"units": "fraction", "zones": [{**zone, "loiter_s": 5}], **own}


def test_what_somebody_else_writes_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    file = RulesFile(path, "yard", SIZE)
    write(path, {"sources": {"other": {"zones": [{"name": "Gate", "polygon": SQUARE}]}}})
    file.save(page([{"name": "Table", "polygon": SQUARE}]))
    assert list(yaml.safe_load(path.read_text())["sources"]) == ["other", "yard"]


def test_what_was_deleted_is_gone(tmp_path: Path) -> None:
    document = {"sources": {"yard": {"zones": [{"name": "Table", "polygon": SQUARE}], "anchor": "center"}}}
    path = write(tmp_path / "rules.yaml", document)
    RulesFile(path, "yard", SIZE).save(page())
    assert yaml.safe_load(path.read_text()) == {"sources": {"yard": {"units": "fraction", "anchor": "center"}}}


def test_a_secret_is_not_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_NAME", "canary-7Qz1")
    path = tmp_path / "rules.yaml"
    path.write_text(f"sources: {{yard: {{zones: [{{name: '${{DESK_NAME}}', polygon: {SQUARE}}}]}}}}")
    file = RulesFile(path, "yard", SIZE)
    assert file.save(file.load()) == []
    assert "${DESK_NAME}" in path.read_text()
    assert "canary-7Qz1" not in path.read_text()


@pytest.mark.parametrize(
    ("sources", "key"),
    [
        (["yard", "ya*"], "yard"),
        (["ya*", "yard"], "yard"),
        (["other", "y?rd", "*"], "y?rd"),
        (["other"], "yard"),
        ([], "yard"),
    ],
)
def test_rules_are_found_where_a_run_finds_them(tmp_path: Path, sources: list[str], key: str) -> None:
    path = write(tmp_path / "rules.yaml", {"sources": {name: {} for name in sources}})
    assert RulesFile(path, "yard", SIZE).key == key


# -- units ------------------------------------------------------------------------------------------------------------


def test_pixels_stay_pixels_and_the_page_sees_fractions(tmp_path: Path) -> None:
    zone = {"name": "Table", "polygon": [[160, 90], [480, 90], [480, 270]]}
    plane = {"image": [[64, 36], [640, 36], [640, 360], [0, 360]], "world_m": [[0, 0], [4, 0], [4, 9], [0, 9]]}
    entry = {"units": "px", "zones": [zone], "ground_plane": plane}
    path = write(tmp_path / "rules.yaml", {"sources": {"yard": entry}})
    file = RulesFile(path, "yard", SIZE)
    loaded = file.load()
    assert loaded["zones"][0]["polygon"] == [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75]]
    assert loaded["ground_plane"]["image"][0] == [0.1, 0.1]
    assert loaded["ground_plane"]["world_m"] == plane["world_m"]
    file.save(loaded)
    assert yaml.safe_load(path.read_text())["sources"]["yard"] == entry


@pytest.mark.parametrize(("before", "after"), [("px", "fraction"), ("fraction", "px")])
def test_units_can_be_changed(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "rules.yaml"
    drawn = page([{"name": "Table", "polygon": SQUARE}])
    RulesFile(path, "yard", SIZE, before).save(drawn)  # type: ignore[arg-type]
    file = RulesFile(path, "yard", SIZE, after)  # type: ignore[arg-type]
    file.save(file.load())
    entry = yaml.safe_load(path.read_text())["sources"]["yard"]
    assert entry["units"] == after
    assert entry["zones"][0]["polygon"][2] == ([0.75, 0.75] if after == "fraction" else [480, 270])


fraction = st.floats(0, 1)


@given(
    points=st.lists(st.tuples(fraction, fraction), min_size=2, max_size=2), units=st.sampled_from(["fraction", "px"])
)
def test_points_come_back_within_a_tenth_of_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, float]], units: Any
) -> None:
    file = RulesFile(tmp_path_factory.mktemp("rules") / "rules.yaml", "yard", (3840, 2160), units)
    if file.save(page(lines=[{"name": "Door", "points": [list(point) for point in points]}])):
        return  # too short for a line, which is told elsewhere
    back = file.load()["lines"][0]["points"]
    for (x, y), (back_x, back_y) in zip(points, back, strict=True):
        assert abs(x - back_x) * 3840 <= 0.06
        assert abs(y - back_y) * 2160 <= 0.06


# -- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "shape", "word"),
    [
        (page([{"name": "A", "polygon": SQUARE}, {"name": "B", "polygon": BOW_TIE}]), "zones.1", "cross"),
        (page([{"name": "A", "polygon": [[0.1, 0.1], [1.4, 0.1], [0.5, 0.5]]}]), "zones.0", "1.4"),
        (page([{"name": "A", "polygon": SQUARE, "loiter_s": -3}]), "zones.0", "loiter_s"),
        (page([{"name": "A", "polygon": SQUARE, "colour": "red"}]), "zones.0", "unknown key"),
        (page([{"polygon": SQUARE}]), "zones.0", "name"),
        (page(lines=[{"name": "A", "points": [[0.1, 0.1], [0.1, 0.1]]}]), "lines.0", ""),
        (page(lines=[{"name": "A", "points": [[0.1, 0.1]]}]), "lines.0", "points"),
        (page(lines=[{"name": "A", "points": [["x", 0.1], [0.2, 0.2]]}]), "lines.0", "points"),
        (page([7]), "zones.0", ""),
        (page([{"name": "A", "polygon": SQUARE}], [{"name": "A", "points": [[0, 0], [1, 1]]}]), None, "A"),
        (page(plane={"image": SQUARE, "world_m": [[0, 0], [1, 1], [2, 2], [3, 3]]}), "ground_plane", ""),
        ({"zones": "many"}, None, "list"),
    ],
)
def test_what_is_wrong_is_told_beside_its_shape_and_not_written(
    tmp_path: Path, drawn: dict[str, Any], shape: str | None, word: str
) -> None:
    path = write(tmp_path / "rules.yaml", {"sources": {"yard": {"anchor": "center"}}})
    before = path.read_bytes()
    file = RulesFile(path, "yard", SIZE)
    problems = file.problems(drawn)
    assert [problem["shape"] for problem in problems] == [shape]
    text = problems[0]["text"]
    assert text
    assert "\n" not in text
    assert word in text
    assert "analytics.sources" not in text
    assert file.save(drawn) == problems
    assert path.read_bytes() == before


def test_a_file_with_a_zone_that_crosses_itself_can_be_opened_and_mended(tmp_path: Path) -> None:
    document = {"sources": {"yard": {"zones": [{"name": "Table", "polygon": BOW_TIE}]}}}
    file = RulesFile(write(tmp_path / "rules.yaml", document), "yard", SIZE)
    loaded = file.load()
    assert [problem["shape"] for problem in file.problems(loaded)] == ["zones.0"]
    loaded["zones"][0]["polygon"] = SQUARE
    assert file.save(loaded) == []


@pytest.mark.parametrize("text", ["sources: [1]", "zones: []", "a: [", "sources: {yard: {zones: [{name: A}]}}"])
def test_what_is_no_file_of_rules_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"rules\.yaml") as refused:
        RulesFile(path, "yard", SIZE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("# by me\nsources: {}\n", True), ("sources: {}  # by me\n", True), ("sources: {}\n", False), ("", False)],
)
def test_comments_of_a_person_are_noticed(tmp_path: Path, text: str, expected: bool) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    assert RulesFile(path, "yard", SIZE).has_comments is expected


def test_the_editors_own_comment_is_none(tmp_path: Path) -> None:
    file = RulesFile(tmp_path / "rules.yaml", "yard", SIZE)
    assert not file.has_comments
    file.save(page([{"name": "Table", "polygon": SQUARE}]))
    assert not file.has_comments


def test_two_saves_at_a_time_leave_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    file = RulesFile(path, "yard", SIZE)

    def save(name: str) -> None:
        for _ in range(5):
            file.save(page([{"name": name, "polygon": SQUARE}]))

    threads = [threading.Thread(target=save, args=(name,)) for name in "ABC"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert analytics_config(read_yaml(path)).sources["yard"].zones[0].name in "ABC"
    assert [entry.name for entry in tmp_path.iterdir()] == ["rules.yaml"]
