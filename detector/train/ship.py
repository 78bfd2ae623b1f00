"""Make a weight file that ships: deploy form, 16 bits, with its card's figures in the header.

python -m detector.train.ship runs/train/exp/weights/best.safetensors small.safetensors --input-px 416 --note data=mine
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detector.checkpoint import load_checkpoint, save_checkpoint
from detector.models import deploy_form


def ship(trained: Path, to: Path, *, input_px: int | None = None, notes: dict[str, str] | None = None) -> int:
    """Write trained weights as they are to run.

    Args:
        trained: of a training run.
        to: file to make.
        input_px: side of the input that they are meant for; None: that of the training.
        notes: added to the header's provenance.

    Returns:
        Size of the file, bytes.

    Raises:
        CheckpointError: the weights cannot be read.
    """
    loaded = load_checkpoint(trained)
    header = loaded.header
    save_checkpoint(
        to,
        deploy_form(loaded.model),
        loaded.class_names,
        input_hw=(input_px, input_px) if input_px else header.input_hw,
        metrics=header.metrics,
        provenance={**header.provenance, **(notes or {})},
        half=True,
    )
    return to.stat().st_size


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this file."""
    parser = argparse.ArgumentParser(description="make a weight file that ships")
    parser.add_argument("trained", type=Path)
    parser.add_argument("to", type=Path)
    parser.add_argument("--input-px", type=int)
    parser.add_argument("--note", action="append", default=[], metavar="KEY=TEXT")
    args = parser.parse_args(argv)
    size = ship(args.trained, args.to, input_px=args.input_px, notes=dict(note.split("=", 1) for note in args.note))
    sys.stdout.write(f"{args.to}: {size / 1e6:.2f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
