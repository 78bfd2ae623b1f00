"""MOT challenge text: what is read is what was written, and errors say where."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.errors import DatasetError, ShapeError, UsageError
from pipeline.core.tracks import Tracks
from pipeline.evaluation.mot_text import MotRows, SequenceInfo, format_mot, read_mot, read_seqinfo, write_mot

SEQINFO = "[Sequence]\nname=street\nimDir=img1\nframeRate=25\nseqLength=71\nimWidth=640\nimHeight=480\nimExt=.jpg\n"


def test_round_trip(tmp_path):
    table = np.array([[2, 7, 1.25, -2.5, 30.0, 40.0, 0.5], [1, 8, 10, 20, 30, 40, 0.75]])
    write_mot(tmp_path / "out.txt", MotRows.from_table(table))
    text = (tmp_path / "out.txt").read_text()
    assert text == "1,8,10.00,20.00,30.00,40.00,0.75,-1,-1,-1\n2,7,1.25,-2.50,30.00,40.00,0.5,-1,-1,-1\n"
    rows = read_mot(tmp_path / "out.txt")
    assert rows.frame.tolist() == [1, 2]
    assert rows.track_id.tolist() == [8, 7]
    assert rows.ltwh.tolist() == [[10, 20, 30, 40], [1.25, -2.5, 30, 40]]
    assert rows.confidence.tolist() == [0.75, 0.5]
    assert rows.class_id.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("text", "confidence", "class_id"),
    [
        ("1,1,912,484,97,109,0,7,1\n", 0, 7),
        ("1,-1,912,484,97,109,0.99,-1,-1,-1", 0.99, -1),
        ("1,1,912,484,97,109", 1, -1),
        ("\n1 1 912 484 97 109 0.5\n\n", 0.5, -1),
        ("1, 1.0, 912, 484, 97, 109, 1,\n", 1, -1),
    ],
)
def test_forms_of_a_line(tmp_path, text, confidence, class_id):
    (tmp_path / "gt.txt").write_text(text)
    rows = read_mot(tmp_path / "gt.txt")
    assert (len(rows), rows.confidence[0], rows.class_id[0]) == (1, confidence, class_id)
    assert rows.ltwh.tolist() == [[912, 484, 97, 109]]


def test_an_empty_file_is_no_rows(tmp_path):
    (tmp_path / "gt.txt").write_text("\n")
    assert len(read_mot(tmp_path / "gt.txt")) == 0
    assert format_mot(read_mot(tmp_path / "gt.txt")) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,2,3,4,5,1\n1,2,x,3,4,5,1\n", r"gt\.txt:2: wanted numbers, found '1,2,x,3,4,5,1'"),
        ("1,1,2,3,4\n", r"gt\.txt:1: wanted 6 to 10 columns, found 5"),
        ("1,1,2,3,4,5,1\n1,2,2,3,4,5\n", r"gt\.txt: wanted the same number of columns in every line, found \[6, 7\]"),
        ("0,1,2,3,4,5,1\n", r"gt\.txt: MOT rows: wanted frames from 1, found 0"),
        ("1,1,2,3,4,5,1\n1,2,nan,3,4,5,1\n", r"gt\.txt: MOT rows: wanted finite numbers, found others in row 1"),
    ],
)
def test_errors_say_where(tmp_path, text, message):
    (tmp_path / "gt.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_mot(tmp_path / "gt.txt")


def test_missing_and_unwritable_files(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.txt: wanted a MOT text file"):
        read_mot(tmp_path / "nowhere.txt")
    with pytest.raises(DatasetError, match="wanted to write tracks there"):
        write_mot(tmp_path / "no" / "out.txt", MotRows.from_table(np.zeros((0, 7))))


def test_rows_check_their_arrays():
    with pytest.raises(UsageError, match=r"6 to 10 columns, found shape \(2, 5\)"):
        MotRows.from_table(np.ones((2, 5)))
    one = np.ones(1, np.int64)
    with pytest.raises(ShapeError, match=r"MotRows\.ltwh: wanted shape \(1, 4\), found \(1, 3\)"):
        MotRows(one, one, np.ones((1, 3)), np.ones(1), one)


def test_from_tracks():
    ids = np.array([3, 5])
    tracks = Tracks(
        np.array([[1, 2, 11, 22], [5, 5, 6, 7]], np.float32), np.array([0.5, 0.25], np.float32), ids * 0, ids, ids * 0
    )
    rows = MotRows.from_tracks([(1, Tracks.empty()), (4, tracks)])
    assert rows.frame.tolist() == [4, 4]
    assert rows.track_id.tolist() == [3, 5]
    assert rows.ltwh.tolist() == [[1, 2, 10, 20], [5, 5, 1, 2]]
    assert rows.confidence.tolist() == [0.5, 0.25]
    assert len(MotRows.from_tracks([])) == 0


def test_seqinfo(tmp_path):
    (tmp_path / "seqinfo.ini").write_text(SEQINFO)
    assert read_seqinfo(tmp_path / "seqinfo.ini") == SequenceInfo("street", 71, 25.0, 640, 480)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SEQINFO.replace("seqLength=71\n", ""), "'seqLength' is missing"),
        (SEQINFO.replace("[Sequence]", "[Other]"), "'Sequence' is missing"),
        (SEQINFO.replace("=25", "=fast"), "cannot be read: could not convert"),
        (SEQINFO.replace("=71", "=0"), "wanted positive numbers"),
        ("name=street", "cannot be read"),
    ],
)
def test_seqinfo_errors(tmp_path, text, message):
    (tmp_path / "seqinfo.ini").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_seqinfo(tmp_path / "seqinfo.ini")
    with pytest.raises(DatasetError, match="found none that can be read"):
        read_seqinfo(tmp_path / "other.ini")
