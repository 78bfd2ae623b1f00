"""Training throughput: the trainer as it is against a plain fp32 loop of the same network on the same data, in one run.

    python tests/benchmarks/bench_training.py [--model yolov7-tiny] [--img-size 640] [--batch-size 8] [--workers 2]

Both train on the same augmented pictures, made beforehand for the plain loop. The trainer's figure includes its loader;
the share of time that it waits for that is told beside it.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from detector.data.augment import AugmentConfig
from detector.data.image_store import ImageStore
from detector.data.loader import Batch, EpochBatches, TrainingPictures, training_loader
from detector.data.training_set import TrainingImage, TrainingSet
from detector.models import DetectionModel, build_model
from detector.train.assemble import build_stepper, detection_loss
from detector.train.config import TrainConfig
from detector.train.distributed import Team
from detector.train.optimiser import build_optimiser
from detector.train.schedule import StepSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov7-tiny")
    parser.add_argument("--img-size", type=int, default=640)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds; the best of each counts")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = _made(Path(folder), args.batch_size * (args.steps + 1))
        plain, trainer, waits = [], [], []
        for _ in range(args.rounds):
            plain.append(_plain(data, args))
            rate, wait = _trainer(data, args)
            trainer.append(rate)
            waits.append(wait)
    print(f"{args.model} at {args.img_size} px, batch {args.batch_size}, {torch.get_num_threads()} threads")
    print(f"plain fp32 loop, pictures ready   {max(plain):6.2f} images/s")
    print(
        f"trainer with {args.workers} loader processes   {max(trainer):6.2f} images/s, waiting {100 * min(waits):.1f} %"
    )
    print(f"ratio {max(trainer) / max(plain):.2f}")


def _plain(data: TrainingSet, args: argparse.Namespace) -> float:
    """What a first version of a training loop does: NCHW, 32 bits, one batch after the other."""
    model, config = _network(args), _config(args)
    loss_of = detection_loss(model, config, args.img_size, "ota")
    optimiser = build_optimiser(model, lr=1e-4, momentum=0.9, weight_decay=5e-4)
    average = copy.deepcopy(model).eval()
    batches = [copy.deepcopy(batch) for batch in _loader(data, args, workers=0)]
    began = 0.0
    for number, batch in enumerate(batches):
        if number == 1:  # the first one allocates memory
            began = time.perf_counter()
        images = batch.images.flip(1).float().contiguous() / 255
        loss = loss_of(model(images), batch.targets)
        loss.total.backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            for mean, value in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(value, 0.001)
    return (len(batches) - 1) * args.batch_size / (time.perf_counter() - began)


def _trainer(data: TrainingSet, args: argparse.Namespace) -> tuple[float, float]:
    """Images per second, and the share of time that was spent waiting for data."""
    model = _network(args).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stepper = build_stepper(model, _config(args), args.img_size, torch.device("cpu"), Team())
    settings = StepSettings(1e-4, 1e-4, 0.9, 1)
    began = waited = 0.0
    count = 0
    since = time.perf_counter()
    for batch in _loader(data, args, workers=args.workers):
        if count == 1:
            began, waited = time.perf_counter(), 0.0
        elif count > 1:
            waited += time.perf_counter() - since
        stepper.step(batch, settings, last=False)
        count += 1
        since = time.perf_counter()
    seconds = since - began
    return (count - 1) * args.batch_size / seconds, waited / seconds


def _network(args: argparse.Namespace) -> DetectionModel:
    torch.manual_seed(0)
    return build_model(args.model, num_classes=6, form="training").train()


def _config(args: argparse.Namespace) -> TrainConfig:
    return TrainConfig(data=Path("none"), img_size=args.img_size, batch_size=args.batch_size)


def _loader(data: TrainingSet, args: argparse.Namespace, *, workers: int) -> torch.utils.data.DataLoader[Batch]:
    pictures = TrainingPictures(data, ImageStore(data.images, args.img_size), AugmentConfig(mixup=0.1), 0, 99)
    batches = EpochBatches([i.shape_hw for i in data.images], args.batch_size, args.img_size, 32, 0)
    return training_loader(pictures, batches, workers=workers)


def _made(folder: Path, count: int) -> TrainingSet:
    """JPEG pictures of 640 x 480 px with some texture and six boxes each."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(count):
        coarse = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        path = folder / f"{number}.jpg"
        cv2.imwrite(str(path), cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC))
        corner = rng.uniform((0, 0), (500, 340), (6, 2))
        xyxy = np.concatenate([corner, corner + rng.uniform(20, 140, (6, 2))], 1).astype(np.float32)
        images.append(TrainingImage(path, (480, 640), xyxy, rng.integers(0, 6, 6)))
    return TrainingSet(folder / "data.yaml", tuple("abcdef"), tuple(images), tuple(range(6)))


if __name__ == "__main__":
    main()
