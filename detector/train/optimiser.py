"""Which parameters are trained, in which groups, and by which optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, AdamW, Optimizer

from detector.models import DetectionModel
from detector.train.schedule import StepSettings, accumulated_batches
from pipeline.core.errors import ConfigError

OptimiserName = Literal["sgd", "adamw"]


class ParameterGroups(NamedTuple):
    """The trainable parameters, each in one place.

    Attributes:
        decay: weights of convolutions and linear layers.
        no_decay: weights of batch normalisation and implicit knowledge, which weight decay would pull to a wrong 0.
        biases: of all layers.
    """

    decay: list[nn.Parameter]
    no_decay: list[nn.Parameter]
    biases: list[nn.Parameter]


def parameter_groups(model: nn.Module) -> ParameterGroups:
    """Sort the parameters that have a gradient.

    Raises:
        ConfigError: there are none.
    """
    groups = ParameterGroups([], [], [])
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            if name == "bias":
                groups.biases.append(parameter)
            elif name == "weight" and not isinstance(module, _BatchNorm):
                groups.decay.append(parameter)
            else:
                groups.no_decay.append(parameter)
    if not seen:
        raise ConfigError("wanted parameters to train, found all of them frozen; freeze fewer layers")
    return groups


def build_optimiser(
    model: nn.Module,
    *,
    name: OptimiserName = "sgd",
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool = True,
) -> Optimizer:
    """An optimiser with three groups whose key `role` is `decay`, `no_decay` or `bias`, in this order.

    Args:
        model: what is trained; parameters frozen before stay out.
        name: `sgd` or `adamw`.
        lr: learning rate of all groups until `apply`.
        momentum: of SGD, or beta 1 of AdamW (beta 2 is 0.999).
        weight_decay: of the group `decay`; see `scaled_weight_decay`.
        nesterov: whether SGD looks ahead.

    Raises:
        ConfigError: nothing is left to train.
    """
    parameters = parameter_groups(model)
    roles = zip(("decay", "no_decay", "bias"), parameters, (weight_decay, 0.0, 0.0), strict=True)
    groups = [{"role": role, "params": params, "weight_decay": decay} for role, params, decay in roles]
    if name == "adamw":
        return AdamW(groups, lr=lr, betas=(momentum, 0.999))
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)


def scaled_weight_decay(weight_decay: float, batch_size: int, nominal_batch: int = 64) -> float:
    """Weight decay per optimiser step, which sees `batch_size` times the summed batches, not `nominal_batch` images."""
    return weight_decay * batch_size * accumulated_batches(batch_size, nominal_batch) / nominal_batch


def apply(optimiser: Optimizer, settings: StepSettings) -> None:
    """Set learning rates and momentum of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = settings.lr_bias if group["role"] == "bias" else settings.lr_other
        if "betas" in group:
            group["betas"] = (settings.momentum, group["betas"][1])
        else:
            group["momentum"] = settings.momentum


def freeze(model: DetectionModel, layers: int | Sequence[str]) -> tuple[str, ...]:
    """Take parameters out of the training; call it before `build_optimiser`.

    Args:
        model: changed in place.
        layers: how many layers from the image on (YOLOv7, whose layers have numbers), or paths of modules whose
            parameters stay as they are, such as `backbone.backbone` or `model.0`.

    Returns:
        Names of the frozen parameters.

    Raises:
        ConfigError: a path that the network does not have, or a number for a network without numbered layers.
    """
    if isinstance(layers, int):
        layers = _first_layers(model, layers)
    modules = dict(model.named_modules())
    unknown = [path for path in layers if path not in modules]
    if unknown:
        raise ConfigError(
            f"freeze: wanted modules of {model.name}, found {unknown[0]!r}; there are, for instance, "
            f"{', '.join([path for path in modules if path][:4])}"
        )
    frozen = {f"{path}.{name}" for path in layers for name, _ in modules[path].named_parameters()}
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    return tuple(name for name, _ in model.named_parameters() if name in frozen)


def hold_frozen_norms(model: nn.Module) -> None:
    """Keep batch normalisation of frozen layers in evaluation mode; call it after every `model.train()`.

    Their running statistics would otherwise follow the new images, and the frozen weights no longer fit them.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
            module.eval()


def _first_layers(model: DetectionModel, count: int) -> list[str]:
    """Paths of the first layers."""
    if model.family != "yolov7":
        raise ConfigError(
            f"freeze: wanted names of modules, found the number {count}; the layers of {model.name} have no numbers, "
            "name modules such as backbone.backbone"
        )
    available = len(list(model.get_submodule("model").children()))
    if not 0 <= count < available:
        raise ConfigError(f"freeze: wanted 0 to {available - 1} layers of {model.name}, found {count}")
    return [f"model.{number}" for number in range(count)]
