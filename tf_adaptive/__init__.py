"""Image classifiers that spend less computation on easy pictures."""

# ruff: noqa: E402, I001 - TensorFlow's notices come when it is first imported.
from tf_adaptive.programs.quiet import import_tensorflow_for_programs

import_tensorflow_for_programs()

from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.compression.quantization import with_quantization
from tf_adaptive.data import load_dataset
from tf_adaptive.errors import InputError
from tf_adaptive.exits.attach import attach_exits
from tf_adaptive.exits.boosting import with_boosting
from tf_adaptive.exits.collaboration import with_collaboration
from tf_adaptive.exits.costs import ExitCost, profile
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.gradient_equilibrium import with_gradient_equilibrium
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.places import ExitPlace, exit_places
from tf_adaptive.exits.stages import Stage, split_stages
from tf_adaptive.exits.thresholds import (
    choose_exits,
    confidence_scores,
    exit_fractions,
    thresholds_for_budget,
)
from tf_adaptive.models import (
    DenseNet,
    DRNet,
    EfficientNetLite,
    Ensemble,
    GoogLeNet,
    MSDNet,
    RANet,
    ResNet,
    WideResNet,
)
from tf_adaptive.models.costs import costs
from tf_adaptive.models.keras_files import load_model
from tf_adaptive.models.pytorch_weights import load_pytorch_weights
from tf_adaptive.routing.branches import resolution_branches
from tf_adaptive.routing.costs import BranchCosts, branch_costs
from tf_adaptive.routing.dispatch import Routing
from tf_adaptive.runs.evaluate import evaluate
from tf_adaptive.runs.run import load_run
from tf_adaptive.training.whole import train_network as train
from tf_adaptive.version import __version__

__all__ = [
    "attach_exits",
    "branch_costs",
    "BranchCosts",
    "choose_exits",
    "confidence_scores",
    "costs",
    "DenseNet",
    "DRNet",
    "EarlyExit",
    "EfficientNetLite",
    "Ensemble",
    "evaluate",
    "exit_fractions",
    "exit_places",
    "ExitCost",
    "ExitPlace",
    "fold_batch_norm",
    "GoogLeNet",
    "InputError",
    "load_dataset",
    "load_model",
    "load_pytorch_weights",
    "load_run",
    "MSDNet",
    "OperatingPoint",
    "profile",
    "RANet",
    "ResNet",
    "resolution_branches",
    "Routing",
    "split_stages",
    "Stage",
    "thresholds_for_budget",
    "train",
    "WideResNet",
    "with_boosting",
    "with_collaboration",
    "with_gradient_equilibrium",
    "with_quantization",
    "__version__",
]
