from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.train.history import EpochRow, History
from pipeline.core.errors import UsageError

NAN = float("nan")


def row(epoch: int, fitness: float = 0.25) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        seconds=61.5,
        images_per_s=29.25,
        wait_share=0.125,
        lr=0.01,
        losses={"box": 0.5, "object": 1.25, "class": 2.0},
        val_losses={"box": 0.75},
        ap=0.25,
        ap50=0.5,
        ap75=0.125,
        fitness=fitness,
    )


def test_the_table_is_written_in_plain_words(tmp_path: Path) -> None:
    History(tmp_path / "results.csv").append(row(1))
    head, first = (tmp_path / "results.csv").read_text().splitlines()
    assert head == (
        "epoch,seconds,images per second,share of time waiting for data,learning rate,"
        "train loss box,train loss object,train loss class,val loss box,AP,AP50,AP75,fitness"
    )
    assert first == "1,61.5,29.25,0.125,0.01,0.5,1.25,2,0.75,0.25,0.5,0.125,0.25"


def test_rows_come_back_from_the_file(tmp_path: Path) -> None:
    history = History(tmp_path / "results.csv")
    history.append(row(1))
    history.append(row(3))
    assert History(tmp_path / "results.csv").rows == history.rows == (row(1), row(3))


def test_what_was_not_measured_is_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    history = History(path)
    history.append(replace(row(1), val_losses={}, ap=NAN, ap50=NAN, ap75=NAN, fitness=NAN))
    history.append(row(2))
    first, second = csv.DictReader(path.read_text().splitlines())
    assert [first[name] for name in ("val loss box", "AP", "AP50", "AP75", "fitness")] == [""] * 5
    assert second["AP"] == "0.25"
    read = History(path).rows
    assert read[0].val_losses == {}
    assert math.isnan(read[0].ap)
    assert math.isnan(read[0].fitness)
    assert read[1] == row(2)


def test_a_loss_that_is_not_finite_stays_visible(tmp_path: Path) -> None:
    history = History(tmp_path / "results.csv")
    history.append(replace(row(1), losses={"box": NAN, "object": math.inf}))
    (read,) = History(tmp_path / "results.csv").rows
    assert math.isnan(read.losses["box"])
    assert read.losses["object"] == math.inf


def test_the_best_is_the_first_of_the_highest_fitness(tmp_path: Path) -> None:
    history = History(tmp_path / "results.csv")
    assert history.best() is None
    history.append(row(1, NAN))
    assert history.best() is None
    for epoch, fitness in ((2, 0.1), (3, 0.4), (4, 0.4), (5, NAN)):
        history.append(row(epoch, fitness))
    best = history.best()
    assert best is not None
    assert best.epoch == 3


@pytest.mark.parametrize(("epoch", "left"), [(0, []), (1, [1]), (2, [1, 2]), (9, [1, 2, 3])])
def test_resuming_drops_later_rows(tmp_path: Path, epoch: int, left: list[int]) -> None:
    path = tmp_path / "results.csv"
    for number in (1, 2, 3):
        History(path).append(row(number))
    resumed = History(path)
    resumed.truncate_after(epoch)
    assert [r.epoch for r in resumed.rows] == [r.epoch for r in History(path).rows] == left
    resumed.append(row(epoch + 1) if epoch < 9 else row(10))
    assert [r.epoch for r in History(path).rows] == [*left, resumed.rows[-1].epoch]


@pytest.mark.parametrize("epoch", [2, 1, 0])
def test_no_epoch_is_twice(tmp_path: Path, epoch: int) -> None:
    history = History(tmp_path / "results.csv")
    history.append(row(2))
    with pytest.raises(UsageError, match=f"wanted an epoch after 2, found {epoch}"):
        history.append(row(epoch))


def test_a_kill_while_writing_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.csv"
    history = History(path)
    history.append(row(1))

    def killed(part: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            history.append(row(2))
    resumed = History(path)
    assert resumed.rows == (row(1),)
    resumed.append(row(2))
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "once upon a time\nthere was\n",
        lambda text: text.replace("0.01", "fast"),
        lambda text: text.replace("\n1,", "\n0,"),
        lambda text: text + text.splitlines()[1] + "\n",
        lambda text: text[: text.index("0.125") - 1] + "\n",
        lambda text: text.rstrip("\n") + ",7,8\n",
    ],
    ids=["empty", "prose", "word", "zero", "twice", "torn", "longer"],
)
def test_another_file_is_told(tmp_path: Path, damage: Callable[[str], str]) -> None:
    path = tmp_path / "results.csv"
    History(path).append(row(1))
    path.write_text(damage(path.read_text()))
    with pytest.raises(UsageError, match=r"results\.csv: wanted .* move the file away"):
        History(path)


figure = st.floats(1e-6, 1e6)
name = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n"), max_size=8)


@settings(max_examples=25)
@given(st.lists(st.tuples(figure, figure, st.dictionaries(name, figure, max_size=3)), min_size=1, max_size=5))
def test_any_rows_come_back(tmp_path_factory: pytest.TempPathFactory, made: list[tuple[float, float, dict]]) -> None:
    path = tmp_path_factory.mktemp("history") / "results.csv"
    history = History(path)
    for epoch, (seconds, ap, losses) in enumerate(made, start=1):
        history.append(replace(row(epoch, fitness=ap), seconds=seconds, ap=ap, losses=losses))
    read = History(path)
    for wanted, found in zip(history.rows, read.rows, strict=True):
        assert found.losses == pytest.approx(wanted.losses, rel=1e-5)
        assert (found.seconds, found.ap) == pytest.approx((wanted.seconds, wanted.ap), rel=1e-5)
    before = path.read_text()
    read.append(replace(row(100), losses=made[0][2]))
    assert path.read_text().startswith(before)
