"""The names of all stages. Each entry is imported only when it is used; a new stage is one file and one line here."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a stage's class and its config class are, as "module:Class"."""

    stage: str
    config: str

    def stage_class(self) -> Any:
        """Import the stage's class."""
        return _load(self.stage)

    def config_class(self) -> Any:
        """Import the stage's config class."""
        return _load(self.config)


SOURCES: Mapping[str, Entry] = {
    "video_file": Entry("sources.video_file:VideoFileSource", "sources.video_file:VideoFileConfig"),
    "images": Entry("sources.images:ImagesSource", "sources.images:ImagesConfig"),
    "camera": Entry("sources.camera:CameraSource", "sources.camera:CameraConfig"),
    "network": Entry("sources.network:NetworkSource", "sources.network:NetworkConfig"),
    "replay": Entry("sources.replay:ReplaySource", "sources.replay:ReplayConfig"),
    "reconnect": Entry("sources.reconnect:ReconnectingSource", "sources.reconnect:ReconnectConfig"),
}

TRACKERS: Mapping[str, Entry] = {
    "bytetrack": Entry("tracker.bytetrack:ByteTracker", "tracker.bytetrack:ByteTrackConfig"),
}

SINKS: Mapping[str, Entry] = {
    "video_file": Entry("sinks.video_file:VideoFileSink", "sinks.video_file:VideoFileConfig"),
    "jsonl": Entry("sinks.jsonl:JsonlSink", "sinks.jsonl:JsonlConfig"),
    "csv": Entry("sinks.csv_file:CsvSink", "sinks.csv_file:CsvConfig"),
    "parquet": Entry("sinks.parquet_tracks:ParquetSink", "sinks.parquet_tracks:ParquetConfig"),
    "mot_txt": Entry("sinks.mot_txt:MotTextSink", "sinks.mot_txt:MotTextConfig"),
    "coco_json": Entry("sinks.coco_json:CocoJsonSink", "sinks.coco_json:CocoJsonConfig"),
    "event_store": Entry("sinks.event_store:EventStoreSink", "sinks.event_store:EventStoreConfig"),
    "display": Entry("sinks.display:DisplaySink", "sinks.display:DisplayConfig"),
    "web": Entry("sinks.dashboard.sink:DashboardSink", "sinks.dashboard.sink:DashboardConfig"),
    "rtsp": Entry("sinks.rtsp:RtspSink", "sinks.rtsp:RtspConfig"),
    "rtsp_serve": Entry("sinks.rtsp_serve:RtspServeSink", "sinks.rtsp_serve:RtspServeConfig"),
    "hls": Entry("sinks.hls:HlsSink", "sinks.hls:HlsConfig"),
    "recorder": Entry("sinks.recorder:RecorderSink", "sinks.recorder:RecorderConfig"),
    "metrics": Entry("sinks.metrics:MetricsSink", "sinks.metrics:MetricsConfig"),
    "mqtt": Entry("sinks.mqtt:MqttSink", "sinks.mqtt:MqttConfig"),
    "null": Entry("sinks.null:NullSink", "sinks.null:NullConfig"),
}


def find(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry of a name.

    Raises:
        ConfigError: there is none; offers the nearest.
    """
    if name in table:
        return table[name]
    raise ConfigError(f"{what}: wanted one of {', '.join(table)}, found {name!r}{nearest(name, table)}")


def nearest(name: str, known: Any) -> str:
    """`; did you mean 'x'?` for the known name most like this one, or an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
