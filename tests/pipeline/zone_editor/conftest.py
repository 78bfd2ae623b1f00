"""Clips, rules and an open editor for the tests of the zone editor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.zone_editor.rules_file import RulesFile
from pipeline.zone_editor.server import EditorContent, EditorServer


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 128x96 at 10 frames a second; frame n is grey 20 * n."""
    path = tmp_path_factory.mktemp("clip") / "yard.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (128, 96))
    for number in range(10):
        writer.write(np.full((96, 128, 3), 20 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture
def open_editor(tmp_path: Path) -> Iterator[Callable[[], EditorServer]]:
    """Opens the page on a file of rules in the test's folder."""
    with ExitStack() as stack:

        def open_one() -> EditorServer:
            rules = RulesFile(tmp_path / "rules.yaml", "yard", (640, 360))
            content = EditorContent({"source_id": "yard"}, b"\xff\xd8picture", rules)
            return stack.enter_context(EditorServer(content))

        yield open_one
