"""Reads CVAT's XML, version 1.1: for video (tracks) and for images.

A polygon becomes the smallest box around its points; between keyframes that box moves straight, which is near to what
CVAT does with the points. Masks and ellipses become their boxes. Polylines, points, cuboids, skeletons and tags have
no box: they are left out and counted. An image `frame_000012` that is not there as a picture is a frame of the task's
video.

The file is a stranger's: it is read in pieces, and a document type is refused, so that no entity can be declared.

Source: CVAT's documentation, "XML annotation format", version 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.parsers import expat

from pipeline.archive.corrected.checks import MAX_BOXES, MAX_FRAME, check_size, number, safe_name, size_wh, whole
from pipeline.archive.corrected.frame_names import frame_number, is_video, lies_beside
from pipeline.archive.corrected.labels import Annotations, FramesOfVideo, LabelBox, PictureLabels
from pipeline.archive.corrected.tracks_between import KeyframeTrack, TracksOfVideo
from pipeline.core.errors import DatasetError

Attributes = Mapping[str, str]
Xyxy = tuple[float, float, float, float]

_WITHOUT_BOX = ("polyline", "points", "cuboid", "skeleton", "tag")
_MAX_DEPTH = 32
_MAX_TEXT = 100_000


def read_cvat(path: Path, root: Path, found: Annotations) -> None:
    """Add the labels of one XML file.

    Raises:
        DatasetError: not CVAT's XML, or something in it that cannot be; names file and line.
    """
    check_size(path)
    reader = _Reader(path)
    try:
        with path.open("rb") as file:
            reader.parse(file.read)
    except expat.ExpatError as error:
        raise DatasetError(
            f"{path}, line {error.lineno}: wanted XML, found: {expat.errors.messages[error.code]}"
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: wanted CVAT's XML, found: {error}") from error
    found.files.append(path)
    found.declared.update(dict.fromkeys(reader.labels))
    found.left_out.update(reader.left_out)
    reader.hand_over(path.relative_to(root).as_posix(), found)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text_piece
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._open: list[str] = []
        self._text = ""
        self._n_boxes = 0
        self._meta: dict[str, str] = {}
        self._tracks: list[KeyframeTrack] = []
        self._track: KeyframeTrack | None = None
        self._images: list[tuple[str, str, tuple[int, int] | None, list[LabelBox]]] = []
        self.labels: list[str] = []
        self.left_out: dict[str, int] = {}

    def parse(self, read: Callable[[int], bytes]) -> None:
        while piece := read(1 << 16):
            self._parser.Parse(piece, False)
        self._parser.Parse(b"", True)

    def hand_over(self, name: str, found: Annotations) -> None:
        """What was read becomes labels of a video or of pictures. `name`: the file's, below the folder given."""
        tracks = [track for track in self._tracks if track.keys]
        if tracks or (self._meta.get("mode") == "interpolation" and not self._images):
            size = size_wh(self._meta.get("width"), self._meta.get("height"), f"{self._path}: original_size")
            names = self._names_of_video(name)
            if not names:
                raise DatasetError(
                    f"{self._path}: wanted the video's name (`source` or `name` in the meta data, or <video>.xml), "
                    "found none; rename the file to <video>.xml"
                )
            found.videos.append(TracksOfVideo(names, self._path, size, tracks, self._covered()))
        of_video: dict[int, list[LabelBox]] = {}
        size_of_video = None
        for image_name, where, size, boxes in self._images:
            plain, frame = safe_name(image_name, where), frame_number(image_name)
            if frame is not None and self._names_of_video(name) and not lies_beside(self._path, [plain]):
                of_video[frame] = boxes
                size_of_video = size
            else:
                found.pictures.append(PictureLabels([plain], self._path, size, boxes))
        if of_video:
            names = self._names_of_video(name)
            found.videos.append(FramesOfVideo(names, self._path, size_of_video, of_video, frozenset(of_video)))

    def _names_of_video(self, name: str) -> list[str]:
        own = name.removesuffix(".xml")
        names = [own, *(self._meta[key] for key in ("source", "name") if key in self._meta)]
        of_videos = [each for each in names if is_video(each)]
        return list(dict.fromkeys(safe_name(each, f"{self._path}: the video's name") for each in of_videos))

    def _covered(self) -> range:
        where = f"{self._path}: meta data"
        n_frames = whole(self._meta.get("size", ""), "size", where, most=MAX_FRAME)
        start = whole(self._meta.get("start_frame", 0) or 0, "start_frame", where, most=MAX_FRAME)
        step = re.search(r"step\s*=\s*(\d{1,6})", self._meta.get("frame_filter", ""))
        stride = max(int(step[1]), 1) if step else 1
        return range(start, start + n_frames * stride, stride)

    @property
    def _where(self) -> str:
        return f"{self._path}, line {self._parser.CurrentLineNumber}"

    def _doctype(self, *_: object) -> None:
        raise DatasetError(f"{self._where}: wanted no document type (<!DOCTYPE), found one; CVAT writes none")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._open and tag != "annotations":
            raise DatasetError(f"{self._where}: wanted <annotations>, found <{tag[:40]}>; is it an XML of CVAT?")
        if len(self._open) >= _MAX_DEPTH:
            raise DatasetError(f"{self._where}: wanted CVAT's XML, found elements in elements without end")
        self._open.append(tag)
        self._text = ""
        if self._open[1:2] == ["meta"]:
            return
        if tag == "track":
            self._track = KeyframeTrack(self._attribute(attributes, "label"))
            self._tracks.append(self._track)
        elif tag == "image":
            size = size_wh(attributes.get("width"), attributes.get("height"), self._where)
            self._images.append((self._attribute(attributes, "name"), self._where, size, []))
        elif tag in _WITHOUT_BOX:
            self.left_out[tag] = self.left_out.get(tag, 0) + 1
        # The parts of a skeleton are points, which stand in it.
        elif tag in _BOXES and "skeleton" not in self._open:
            self._shape(tag, attributes)

    def _shape(self, tag: str, attributes: Attributes) -> None:
        parent = self._open[-2]
        self._n_boxes += 1
        if self._n_boxes > MAX_BOXES:
            raise DatasetError(f"{self._where}: wanted at most {MAX_BOXES} boxes, found more; export it in parts")
        if parent == "track" and self._track is not None:
            if attributes.get("keyframe", "1") == "0":
                return
            frame = whole(self._attribute(attributes, "frame"), "frame", self._where, most=MAX_FRAME)
            flags = (attributes.get("outside") == "1", attributes.get("occluded") == "1")
            self._track.keys.append((frame, *self._xyxy(tag, attributes), *flags))
        elif parent == "image":
            label = self._attribute(attributes, "label")
            box = LabelBox(label, self._xyxy(tag, attributes), attributes.get("occluded") == "1")
            self._images[-1][3].append(box)

    def _xyxy(self, tag: str, attributes: Attributes) -> Xyxy:
        return _BOXES[tag](lambda name: self._attribute(attributes, name), self._where)

    def _attribute(self, attributes: Attributes, name: str) -> str:
        if name not in attributes:
            raise DatasetError(f"{self._where}: wanted {name!r} in <{self._open[-1]}>, found none")
        return attributes[name]

    def _text_piece(self, text: str) -> None:
        if self._open[1:2] == ["meta"]:
            self._text += text
            if len(self._text) > _MAX_TEXT:
                raise DatasetError(f"{self._where}: wanted a short text in <{self._open[-1]}>, found a very long one")

    def _end(self, tag: str) -> None:
        path = self._open[1:]
        self._open.pop()
        if path[:1] == ["meta"]:
            text = self._text.strip()
            if path[-3:] == ["labels", "label", "name"]:
                self.labels.append(text)
            elif path[-2:-1] in (["task"], ["job"], ["original_size"], ["meta"]) and text:
                self._meta.setdefault(tag, text)
        self._text = ""


Get = Callable[[str], str]


def _box(get: Get, where: str) -> Xyxy:
    left, top, right, bottom = (number(get(name), name, where) for name in ("xtl", "ytl", "xbr", "ybr"))
    return left, top, right, bottom


def _polygon(get: Get, where: str) -> Xyxy:
    pairs = [pair.split(",") for pair in get("points").split(";")]
    if not all(len(pair) == 2 for pair in pairs):
        raise DatasetError(f"{where}: points: wanted x,y;x,y;..., found {get('points')[:40]!r}")
    x = [number(pair[0], "points", where) for pair in pairs]
    y = [number(pair[1], "points", where) for pair in pairs]
    return min(x), min(y), max(x), max(y)


def _mask(get: Get, where: str) -> Xyxy:
    left, top, width, height = (number(get(name), name, where) for name in ("left", "top", "width", "height"))
    return left, top, left + width, top + height


def _ellipse(get: Get, where: str) -> Xyxy:
    x, y, rx, ry = (number(get(name), name, where) for name in ("cx", "cy", "rx", "ry"))
    return x - rx, y - ry, x + rx, y + ry


_BOXES: Mapping[str, Callable[[Get, str], Xyxy]] = {
    "box": _box,
    "polygon": _polygon,
    "mask": _mask,
    "ellipse": _ellipse,
}
