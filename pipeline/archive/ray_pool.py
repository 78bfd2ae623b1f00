"""Workers on the machines of a Ray cluster, through Ray Data: one row is one video, never a part of one."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.archive.job import Job, Message, Outcome, Task
from pipeline.core.errors import BackendError, MissingExtraError
from pipeline.core.url import redact

ATTEMPTS = 2
"""As in a local pool: a video whose worker died is tried once more."""
_LOOK_EVERY_S = 0.2
_END_WITHIN_S = 5.0
_REACHED_WITHIN_S = 10.0
_STOP = "stop"


class RayWorker:
    """An actor: loads the detector once, then makes the results of one video after another.

    An actor must not fail when it is made, as Ray would make it again for ever; it tells why instead.

    Args:
        job: the same for all videos.
    """

    def __init__(self, job: Job) -> None:
        from pipeline.archive.annotator import Annotator, describe

        self._job = job
        self._stop_file = stop_file(job)
        self._annotator: Annotator | None = None
        try:
            self._annotator = Annotator(job, self._look)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller tells it
            self._unusable = describe(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Annotate the video of a row."""
        task: Task = row["task"]
        if self._annotator is None:
            return {"message": self._unusable}
        if not self._claim(task):
            reason = f"its worker died {ATTEMPTS} times (out of memory? fewer --workers may help)"
            return {"message": Outcome(task.video.name, "failed", reason=reason)}
        self._look(None)
        return {"message": self._annotator.annotate(task)}

    def _look(self, _message: Message | None) -> None:
        """Called often while a video is in work: whether the caller has asked for the end."""
        if self._annotator is not None and self._stop_file.exists():
            self._annotator.stop()

    def _claim(self, task: Task) -> bool:
        """Ray repeats the work of an actor that died, as often as it dies; a file for each try tells how often."""
        for attempt in range(ATTEMPTS):
            try:
                (self._job.work / f"{self._job.run}-{task.number}.try{attempt}").open("x").close()
            except FileExistsError:
                continue
            return True
        return False


def stop_file(job: Job) -> Path:
    """Whose existence tells all actors, wherever they are, to give up."""
    return job.work / f"{job.run}.{_STOP}"


class RayPool:
    """Shares the videos of a job out among actors. The folders of the job must be the same on all machines.

    Args:
        job: the same for all videos.
        tasks: in the order in which they begin.
        n_workers: actors; None = one for every CPU of the cluster.
        stopping: once set, everything ends, and what is not whole is given up.
        address: `local` for a Ray of our own on this machine, else the address of a cluster (`auto` finds it). A Ray
            that the process is connected to already is used in its place, and left running.

    Raises:
        MissingExtraError: ray is not installed.
    """

    def __init__(
        self, job: Job, tasks: Sequence[Task], n_workers: int | None, stopping: threading.Event, *, address: str
    ) -> None:
        _prepare_environment(address)
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise MissingExtraError("ray", "ray", "annotate --ray") from error
        self._ray: Any = ray
        self._job = job
        self._tasks = tasks
        self._n_workers = n_workers
        self._stopping = stopping
        self._address = address

    def messages(self) -> Iterator[Message]:
        """An Outcome per video, as they come, until all have one, one is Unusable, or `stopping` is set.

        Raises:
            BackendError: the cluster cannot be reached, or failed.
        """
        with self._connected():
            came: queue.SimpleQueue[Message | BaseException | None] = queue.SimpleQueue()
            thread = threading.Thread(target=self._collect, args=(came,), name="ray")
            thread.start()
            try:
                while not self._stopping.is_set():
                    try:
                        message = came.get(timeout=_LOOK_EVERY_S)
                    except queue.Empty:
                        continue
                    if message is None:
                        return
                    if isinstance(message, BaseException):
                        raise BackendError(f"ray: {_first_line(message)}") from message
                    yield message
            finally:
                if thread.is_alive():
                    stop_file(self._job).touch()
                    thread.join(_END_WITHIN_S)
        thread.join()

    def _collect(self, came: queue.SimpleQueue[Message | BaseException | None]) -> None:
        try:
            for row in self._dataset().iter_rows():
                came.put(row["message"])
            came.put(None)
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            came.put(error)

    def _dataset(self) -> Any:
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        rows = [{"task": task} for task in self._tasks]
        # A block per video: blocks are what Ray hands out, and a result comes when its block is done.
        videos = data.from_items(rows, override_num_blocks=len(rows))
        n_cpus = int(self._ray.cluster_resources().get("CPU", 1))
        n_workers = min(self._n_workers or max(n_cpus // self._job.threads, 1), len(rows))
        return videos.map(
            RayWorker,
            fn_constructor_args=(self._job,),
            compute=data.ActorPoolStrategy(size=n_workers, max_tasks_in_flight_per_actor=1),
            num_cpus=self._job.threads,
            num_gpus=self._n_gpus(),
        )

    def _n_gpus(self) -> float:
        """Ray hides GPUs from actors that ask for none; two actors share one."""
        device = str(self._job.config["detector"].get("device", "auto"))
        return 0.5 if device.isdecimal() or device.startswith("cuda") else 0

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        ray = self._ray
        if ray.is_initialized():
            yield
            return
        logging.getLogger("ray").setLevel(logging.ERROR)
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ours = {"num_cpus": self._n_workers, "include_dashboard": False} if self._address == "local" else {}
        try:
            _check_reachable(self._address)
            with _silent_native_code():
                ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR, **ours)
        except Exception as error:
            raise BackendError(
                f"--ray {redact(self._address)}: wanted a Ray cluster there, found {_first_line(error)}; is it "
                "running, and are RAY_AUTH_MODE and RAY_AUTH_TOKEN here those of the cluster?"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def _prepare_environment(address: str) -> None:
    """Ray reads these when it is imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address == "local" and "RAY_AUTH_MODE" not in os.environ:
        # Ray would keep a token of its own making in the user's home.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _check_reachable(address: str) -> None:
    """Ray itself waits for ever where nobody listens. Raises OSError."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACHED_WITHIN_S).close()


@contextlib.contextmanager
def _silent_native_code() -> Iterator[None]:
    """While inside, nothing reaches the terminal: Ray's C++ part writes to it directly, whatever its log level is."""
    sys.stderr.flush()
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in redact(str(error)).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
