"""The budgets of thresholds that are swept on one set of images and told of another."""

from tf_adaptive.exits.evaluation import at_thresholds, sweep


def budgeted(
    validation_logits,
    test_logits,
    test_labels,
    costs,
    measure="max_probability",
    *,
    validation_labels=None,
    calibration_logits=None,
    calibration_labels=None,
    temperatures=None,
):
    """A list of `BudgetRow`, one per `p`, in order; the validation images choose without others."""
    if calibration_logits is None:
        calibration_logits, calibration_labels = validation_logits, validation_labels
    return at_thresholds(
        sweep(validation_logits, measure, temperatures).items(),
        calibration_logits,
        test_logits,
        test_labels,
        costs,
        measure,
        calibration_labels=calibration_labels,
        temperatures=temperatures,
    )
