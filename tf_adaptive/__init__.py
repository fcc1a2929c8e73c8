"""Image classifiers that spend less computation on easy pictures."""

from tf_adaptive.checkpoints import load_pytorch_weights
from tf_adaptive.collaboration import with_collaboration
from tf_adaptive.early_exit import EarlyExit
from tf_adaptive.errors import InputError
from tf_adaptive.exits.attach import attach_exits
from tf_adaptive.exits.places import ExitPlace, exit_places
from tf_adaptive.folding import fold_batch_norm
from tf_adaptive.gradient_equilibrium import with_gradient_equilibrium
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
    resolution_branches,
)
from tf_adaptive.policies import (
    choose_exits,
    confidence_scores,
    exit_fractions,
    thresholds_for_budget,
)
from tf_adaptive.profile import ExitCost, profile
from tf_adaptive.quantization import with_quantization
from tf_adaptive.routing.costs import BranchCosts, branch_costs
from tf_adaptive.stages import Stage, split_stages

__version__ = "0.1.0"

__all__ = [
    "BranchCosts",
    "DRNet",
    "DenseNet",
    "EarlyExit",
    "EfficientNetLite",
    "ExitCost",
    "ExitPlace",
    "Ensemble",
    "ExitCost",
    "GoogLeNet",
    "InputError",
    "MSDNet",
    "RANet",
    "ResNet",
    "Stage",
    "attach_exits",
    "WideResNet",
    "branch_costs",
    "choose_exits",
    "confidence_scores",
    "exit_fractions",
    "exit_places",
    "fold_batch_norm",
    "load_pytorch_weights",
    "profile",
    "resolution_branches",
    "split_stages",
    "thresholds_for_budget",
    "with_collaboration",
    "with_gradient_equilibrium",
    "with_quantization",
]
