"""What stood for every frame, one JSON line each: for whoever wants to look closer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.core.whole_file import write_whole
from pipeline.stream_eval.evaluate import Evaluation
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.shown import Shown


def write_dump(path: Path, evaluation: Evaluation) -> None:
    """Write the file.

    A line: `sequence`, `frame`, `arrival_ns`; `output` (its number, null = miss), `input_frame`, `output_ns`,
    `staleness_frames`; `shown` and `truth`: objects with `class`, `ltwh` (px), `track_id` or null, and `score` or, of
    the truth, `counts`.

    Raises:
        OSError: the system refused.
    """
    lines = (json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n" for line in _lines(evaluation))
    write_whole(path, "".join(lines))


def _lines(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    for answers, shown in zip(evaluation.answers, evaluation.shown, strict=True):
        truth, stream = answers.labelled.truth, answers.stream
        for frame in range(stream.n_frames):
            counted = (~truth.crowd[frame]).tolist()
            labels = _objects(truth.boxes[frame], truth.class_names)
            yield {
                "sequence": stream.name,
                "frame": frame,
                "arrival_ns": stream.arrival_ns(frame),
                **_answer(shown, frame),
                "shown": [
                    {**one, "score": round(score, 4)}
                    for one, score in zip(
                        _objects(shown.boxes[frame], truth.class_names), shown.boxes[frame].score.tolist(), strict=True
                    )
                ],
                "truth": [{**one, "counts": counts} for one, counts in zip(labels, counted, strict=True)],
            }


def _answer(shown: Shown, frame: int) -> dict[str, Any]:
    index = int(shown.matched.output[frame])
    if index < 0:
        return dict.fromkeys(("output", "input_frame", "output_ns", "staleness_frames"))
    output = shown.outputs[index]
    return {
        "output": index,
        "input_frame": output.input_frame,
        "output_ns": output.at_ns,
        "staleness_frames": frame - output.input_frame,
    }


def _objects(boxes: Boxes, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = zip(boxes.class_id.tolist(), boxes.ltwh.tolist(), boxes.track_id.tolist(), strict=True)
    return [
        {
            "class": class_names[class_id],
            "ltwh": [round(value, 2) for value in ltwh],
            "track_id": None if track_id < 0 else track_id,
        }
        for class_id, ltwh, track_id in rows
    ]
