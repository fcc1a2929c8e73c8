"""The flags of a search for a DRNet's routing, and its settings."""

from absl import flags

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.models.drnet import DRNet
from tf_adaptive.programs import program
from tf_adaptive.routing.branches import check_resolutions
from tf_adaptive.tuning.space import Choice

from ..searches.drnet import DRNetSettings
from . import network as network_flags
from . import search as search_flags
from . import training as training_flags

_TARGET_GFLOPS = flags.DEFINE_float(
    "target_gflops", None, "mean cost of the classifier to aim at, in 10^9 multiply-accumulates"
)
_RESOLUTIONS = flags.DEFINE_list("resolutions", None, "candidates, falling; the preset's if unset")
_OTHER_RESOLUTIONS = flags.DEFINE_multi_string(
    "other_resolutions",
    None,
    "candidates to search beside --resolutions, with the same largest one; may be repeated",
)
_STAGE_1_FROM = flags.DEFINE_string(
    "stage_1_from", None, "another run whose finished stage 1 all trials start from"
)
_STAGE_1_EPOCHS = flags.DEFINE_integer("stage_1_epochs", 70, "passes over the images in stage 1")
_STAGE_2_LEARNING_RATE = flags.DEFINE_float(
    "stage_2_learning_rate", None, "highest learning rate of stage 2; that of stage 1 if unset"
)
_DENSE = flags.DEFINE_bool("dense", False, "as in trainers.train_drnet")
_FLOPS_WEIGHTS = flags.DEFINE_list(
    "flops_weights", ["0.02", "2"], "range of the weight of the FLOPs loss"
)
_TARGET_FACTORS = flags.DEFINE_list(
    "target_factors",
    None,
    "range of the target inside the FLOPs loss, as a part of --target_gflops; 0.85,1.15 within "
    "what the resolutions cost if unset",
)
_TEMPERATURES = flags.DEFINE_list(
    "temperatures", ["0.3", "3"], "range of the temperature of the choice at first"
)
_FINAL_TEMPERATURES = flags.DEFINE_list(
    "final_temperatures", ["0.1", "3"], "range of the temperature of the choice at the end"
)
_PREDICTOR_FACTORS = flags.DEFINE_list(
    "predictor_learning_rate_factors",
    ["0.03", "3"],
    "range of the predictor's rate beside the classifier's",
)


def drnet_settings(devices):
    """The `DRNetSettings` that the flags ask for.

    Args:
        devices: `Devices`.

    Raises:
        InputError: a flag that is none of the choices, candidates or ranges that are none, or data
            that cannot be had.
    """
    check_choice("preset", network_flags.PRESET.value, DRNet.presets)
    program.fill_unset(epochs=100, batch_size=256, warmup_epochs=3.0, nesterov=False)
    dtype = training_flags.layers_dtype()
    candidate_sets = _candidate_sets()
    ranges = _ranges(candidate_sets)
    target_factors = given = None
    if _TARGET_FACTORS.value is not None:
        given = ",".join(_TARGET_FACTORS.value)
        target_factors = search_flags.range_of(
            _TARGET_FACTORS, "target_factor", default=1.0, log=False
        )
    dataset = training_flags.data_of(search_flags.DATASET.value)
    return DRNetSettings(
        **search_flags.shared_settings(dataset, dtype, devices),
        descent=search_flags.shared_descent(
            dataset,
            epochs=search_flags.EPOCHS.value,
            learning_rate=_STAGE_2_LEARNING_RATE.value,
        ),
        classifier_descent=search_flags.shared_descent(dataset, epochs=_STAGE_1_EPOCHS.value),
        stage_2_learning_rate=_STAGE_2_LEARNING_RATE.value,
        stage_1_from=_STAGE_1_FROM.value,
        candidate_sets=candidate_sets,
        ranges=ranges,
        target_gflops=_TARGET_GFLOPS.value,
        target_factors=target_factors,
        target_factors_given=given,
        dense=_DENSE.value,
    )


def _candidate_sets():
    """The candidates of --resolutions or the preset, then those to search beside them."""
    first = program.numbers(_RESOLUTIONS, int)
    if first is None:
        first = DRNet.presets[network_flags.PRESET.value]["resolutions"]
    sets = [tuple(first)]
    for text in _OTHER_RESOLUTIONS.value or []:
        try:
            sets.append(tuple(int(side) for side in text.split(",")))
        except ValueError:
            raise InputError(
                "`other_resolutions` must be whole numbers with commas between. "
                f"Received: --other_resolutions={text}."
            ) from None
    for sides in sets:
        check_resolutions(sides)
        if sides[0] != sets[0][0]:
            raise InputError(
                "All candidates of `other_resolutions` must have the largest one of the first, "
                f"{sets[0][0]}, as stage 1 is the same. Received: {','.join(map(str, sides))}."
            )
    return list(dict.fromkeys(sets))


def _ranges(candidate_sets):
    """The hyperparameters but for the target's factor."""
    given = [
        search_flags.range_of(_FLOPS_WEIGHTS, "flops_weight", default=0.2),
        search_flags.range_of(_TEMPERATURES, "temperature", default=1.0),
        search_flags.range_of(_FINAL_TEMPERATURES, "final_temperature", default=1.0),
        search_flags.range_of(_PREDICTOR_FACTORS, "predictor_learning_rate_factor", default=0.1),
    ]
    sets = tuple(",".join(map(str, sides)) for sides in candidate_sets)
    return [*given, Choice("resolutions", sets, sets[0])]
