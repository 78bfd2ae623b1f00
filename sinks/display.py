"""A window on this machine's screen."""

from __future__ import annotations

import cv2
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError, StopRequest
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.draw import Annotator, DrawConfig
from sinks.mosaic import Mosaic
from sinks.window_check import check_window

_STOP_KEYS = frozenset((ord("q"), ord("Q"), 27))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DisplayConfig:
    """How large the window is."""

    width_px: int = Field(default=1280, ge=160, le=7680, description="widest that the window opens (px)")
    height_px: int = Field(default=720, ge=120, le=4320, description="highest that the window opens (px)")
    title: str = Field(default="Tracklight", min_length=1, description="title of the window")
    draw: DrawConfig = Field(default_factory=DrawConfig, description="what is drawn")


class DisplaySink:
    """Shows the newest frame of every source in one window; several sources share it as a grid.

    `q`, Esc and closing the window ask for the end of the run. All methods run in the main thread.

    Args:
        config: the window.
        class_names: names by class_id.
    """

    needs_image = True
    needs_main_thread = True
    is_live = True
    shared = True
    compensated = "pictures"

    def __init__(self, config: DisplayConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._annotator = Annotator(config.draw, class_names)
        self._mosaic: Mosaic | None = None
        self._shown = False
        self._stop_requested = False

    def open(self, info: StreamInfo) -> None:
        """Make room for a source; the first finds out whether a window can be opened. Raises SinkError."""
        if self._mosaic is None:
            check_window()
            self._mosaic = Mosaic((self._config.height_px, self._config.width_px))
        self._mosaic.add(info.source_id)

    def write(self, result: FrameResult) -> None:
        """Show a frame. Raises SinkError, and StopRequest once when the person watching asks for the end."""
        if self._mosaic is None:
            raise SinkError("display: wanted open() before write(), found the sink not open")
        if self._stop_requested:
            # The window is gone; what is still on its way must not open it again.
            return
        picture = self._mosaic.update(result.frame.source_id, self._annotator.draw(result))
        try:
            if not self._shown:
                self._open_window(picture.shape[0], picture.shape[1])
            cv2.imshow(self._config.title, picture)
        except cv2.error as error:
            raise SinkError(f"display: wanted to show {result.frame}, found: {error.err}") from error
        self.poll()

    def poll(self) -> None:
        """Answer the window system and look at the keyboard; also while no frames come. Raises StopRequest."""
        if not self._shown or self._stop_requested:
            return
        key = cv2.pollKey()
        if (key >= 0 and key & 0xFF in _STOP_KEYS) or not self._is_visible():
            self._stop_requested = True
            self._close_window()
            raise StopRequest

    def close(self) -> None:
        """Close the window. Idempotent."""
        self._close_window()
        self._mosaic = None

    def _open_window(self, height: int, width: int) -> None:
        """Open it in the size of the picture, or as large as the configuration allows."""
        cv2.namedWindow(self._config.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._shown = True
        scale = min(1.0, self._config.width_px / width, self._config.height_px / height)
        cv2.resizeWindow(self._config.title, max(1, round(width * scale)), max(1, round(height * scale)))

    def _is_visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self._config.title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            # What Qt answers once its last window has been closed.
            return False

    def _close_window(self) -> None:
        if self._shown:
            self._shown = False
            cv2.destroyAllWindows()
            cv2.pollKey()
