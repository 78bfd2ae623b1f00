"""What the record of a run says of its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.facts import run_facts
from pipeline.config.schema import RunConfig


def facts(**settings: Any) -> Any:
    return run_facts(RunConfig(**{"sources": ["rtsp://user:canary@host/1"], **settings}))


@pytest.mark.parametrize(
    ("settings", "is_same"),
    [
        ({"outputs": ["a.db"], "exist_ok": True, "report": "r.json"}, True),
        ({"sink": {"event_store": {"resume": True}}, "runtime": {"batch": 4}, "draw": {"boxes": False}}, True),
        ({"detector": {"conf_thres": 0.3}}, False),
        ({"tracker": {"buffer_s": 3}}, False),
        ({"analytics": {"sources": {"*": {}}}}, False),
        ({"max_frames": 5}, False),
        ({"sources": ["rtsp://user:canary@host/2"]}, False),
        ({"sources": ["rtsp://user:another@host/1"]}, True),
    ],
)
def test_the_digest_is_of_what_is_found(settings: dict[str, Any], is_same: bool) -> None:
    assert (facts(**settings).config_digest == facts().config_digest) == is_same


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("street.mp4").touch()
    monkeypatch.setattr("sys.argv", ["tracklight", "--source", "rtsp://user:canary@host/1", "-o", "a b.db"])
    found = facts(sources=["street.mp4", "rtsp://user:canary@host/1"])
    assert found.addresses == {"street": str(tmp_path / "street.mp4"), "host-1": "rtsp://***@host/1"}
    assert found.videos == {"street"}
    assert found.command == "tracklight --source rtsp://***@host/1 -o 'a b.db'"
    assert "canary" not in repr(found)


def test_names_that_are_no_text_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a\udcff.mp4", "b\udcfe.mp4"]
    for name in names:
        Path(name).touch()
    monkeypatch.setattr("sys.argv", ["tracklight", *names])
    found = facts(sources=names)
    texts = [found.command, *found.addresses.values()]
    assert [text.encode().decode() for text in texts] == texts
    assert sorted(found.addresses.values()) == [f"{tmp_path}/a\\udcff.mp4", f"{tmp_path}/b\\udcfe.mp4"]
    assert facts(sources=names[:1]).config_digest != facts(sources=names[1:]).config_digest
