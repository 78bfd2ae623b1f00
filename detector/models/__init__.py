"""Model families as pure modules: no I/O, no choice of device."""

from detector.models.catalogue import available_models, build_from_rows, build_model
from detector.models.fuse import fuse
from detector.models.graph import DetectionModel
from detector.models.profile import count_gflops, count_parameters
from detector.models.state import deploy_form, rename_mit_keys, training_to_deploy_state

__all__ = [
    "DetectionModel",
    "available_models",
    "build_from_rows",
    "build_model",
    "count_gflops",
    "count_parameters",
    "deploy_form",
    "fuse",
    "rename_mit_keys",
    "training_to_deploy_state",
]
