"""Whether a run is alive and ready, for programs that restart what is not."""

from __future__ import annotations

from pipeline.core.control import RunControl, SourceState


class RunHealth:
    """Answers for /healthz and /readyz.

    Args:
        hang_s: a stage that is at one piece of work for so long hangs; so does whatever lies behind a source that gives
            frames and yet got no result for so long.
    """

    def __init__(self, hang_s: float) -> None:
        self._hang_s = hang_s
        self._was_ready = False

    def trouble(self, control: RunControl | None) -> str | None:
        """What hangs, or None.

        A source that is away is no trouble here: a restart of this program would not bring it back. Nor is a first
        result that has not come: a model may take minutes to be made ready.
        """
        if control is None:
            return None
        for stage, busy_s in control.measures(()).busy_s.items():
            # A source that hangs is begun anew by the run itself.
            if busy_s > self._hang_s and not stage.startswith("source:"):
                return f"{stage}: at one piece of work for {busy_s:.0f} s"
        for status in control.sources():
            if status.state is SourceState.LIVE and status.age_s is not None and status.age_s > self._hang_s:
                return f"{status.source_id}: frames come, but the newest result is {status.age_s:.0f} s old"
        return None

    def is_ready(self, control: RunControl | None) -> bool:
        """Whether a first result was emitted, or every source has given a frame. Once so, always so."""
        if control is not None and not self._was_ready:
            statuses = control.sources()
            self._was_ready = any(one.emitted for one in statuses) or all(one.produced for one in statuses)
        return self._was_ready
