"""The results on disk: which are whole, and how new ones come to their place."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.archive.archive import all_done
from pipeline.archive.done import Done, read_done
from pipeline.archive.layout import WORK, video_folder
from pipeline.core.errors import DatasetError

_REPLACED = ".replaced"


class Results:
    """The one that moves results to their place; workers only make them, each in a folder of its own below `.work`.

    A folder with a done.json is whole. What lies whole in `.work` after a kill is moved to its place, so that no work
    is done twice.

    Args:
        out: the archive's folder, locked by the caller.

    Raises:
        OSError: the system refused.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._work = out / WORK
        self._work.mkdir(exist_ok=True)
        self.done: dict[str, Done] = {}
        self._take_in()
        self.done = {one.name: one for one in all_done(out)}

    def commit(self, made: Path) -> Done:
        """Move whole results to their place, where older ones of the same video are replaced.

        Raises:
            DatasetError: they are not whole.
            OSError: the system refused.
        """
        done = read_done(made)
        if done is None:
            raise DatasetError(f"{made}: wanted whole results, found no record in it")
        place = video_folder(self._out, done.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            # A folder cannot be put over another one. Between the two steps a kill leaves the new one in `.work`.
            before = made.with_name(made.name + _REPLACED)
            place.rename(before)
            made.rename(place)
            shutil.rmtree(before)
        else:
            made.rename(place)
        self.done[done.name] = done
        return done

    def clear(self) -> None:
        """Remove what is half done."""
        shutil.rmtree(self._work, ignore_errors=True)

    def _take_in(self) -> None:
        for made in sorted(self._work.iterdir()):
            done = None if made.name.endswith(_REPLACED) else read_done(made)
            if done is not None and self._is_newer(done):
                self.commit(made)
        self.clear()
        self._work.mkdir()

    def _is_newer(self, done: Done) -> bool:
        there = read_done(video_folder(self._out, done.name))
        return there is None or there.finished < done.finished
