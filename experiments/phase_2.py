"""What rows with a second phase share."""

from tf_adaptive.training.recipes import published_phase_2_recipe


def with_published_teacher(flags, preset):
    """Flags of a phase II, with the published share of the labels where a teacher is beside them.

    Left unset, the labels would take its place wherever the last exit is not the best, and a row
    would not be what it is called.
    """
    if not flags.get("distillation", True):
        return flags
    return {**flags, "alpha": published_phase_2_recipe(preset)["alpha"]}
