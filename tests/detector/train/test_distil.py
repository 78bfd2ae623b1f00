"""Imitating a teacher's features."""

from __future__ import annotations

import pytest
import torch

from detector.models import build_model
from detector.train.distil import ImitatingNetwork, Teacher, correlation, reordered


def test_correlation_sees_neither_scale_nor_offset_of_a_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 3, 4, 5, generator=generator)
    factor, offset = torch.tensor([2.0, 0.5, 7.0]), torch.tensor([1.0, -3.0, 0.0])
    assert correlation(a, a * factor.view(1, 3, 1, 1) + offset.view(1, 3, 1, 1)).item() == pytest.approx(1, abs=1e-5)
    assert correlation(a, -a).item() == pytest.approx(-1, abs=1e-5)
    assert abs(correlation(a, torch.randn(2, 3, 4, 5, generator=generator)).item()) < 0.5
    flat = torch.zeros(2, 3, 4, 5, requires_grad=True)
    correlation(flat, a).backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_each_family_gets_its_own_colours_and_range() -> None:
    rgb = torch.tensor([0.2, 0.4, 1.0]).view(1, 3, 1, 1)
    bgr = reordered(rgb, "yolov7", "yolox")
    assert bgr.flatten().tolist() == pytest.approx([255, 102, 51])
    assert torch.allclose(reordered(bgr, "yolox", "yolov7"), rgb)
    assert reordered(rgb, "yolov7", "yolov7") is rgb


def test_a_network_is_its_own_perfect_teacher() -> None:
    torch.manual_seed(0)
    student = build_model("yolov7-nano", num_classes=2, form="training").eval()
    network = ImitatingNetwork(student, student.map_channels)
    for adapter, channels in zip(network.adapters, student.map_channels, strict=True):
        torch.nn.init.dirac_(adapter.weight)
        torch.nn.init.zeros_(adapter.bias)
        assert adapter.weight.shape[:2] == (channels, channels)
    teacher = Teacher(student, student, torch.device("cpu"), torch.float32, weight=3.0)
    images = torch.rand(1, 3, 128, 128)
    raws, features = network(images)
    assert teacher.loss(features, images).item() == pytest.approx(0, abs=0.03)
    assert all(torch.equal(a, b) for a, b in zip(raws, student.raw(images), strict=True))
    assert teacher.loss([-f for f in features], images).item() == pytest.approx(6, abs=0.03)
