"""What a search for a network with several exits is about: its flags and its space."""

from absl import flags

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.losses import check_distillation
from tf_adaptive.models.from_preset import build_network
from tf_adaptive.programs import program
from tf_adaptive.training.loop import check_training
from tf_adaptive.training.progress import TerminalProgress
from tf_adaptive.training.recipes import published_recipe
from tf_adaptive.tuning.multi_exit_trainer import MultiExitTrainer, exit_weight_ramp
from tf_adaptive.tuning.space import Choice, check_space

from ..flags import network as network_flags
from ..flags import search as search_flags
from ..flags import training as training_flags

_PHASE_2_EPOCHS = flags.DEFINE_integer(
    "phase_2_epochs", 180, "passes over the features in phase II of IMTA; 0 for phase I alone"
)
_EXIT_WEIGHT_RATIOS = flags.DEFINE_list(
    "exit_weight_ratios",
    ["0.25", "4"],
    "range of the last exit's weight by the first's, the others' in a line between",
)
_GRADIENT_EQUILIBRIUM = flags.DEFINE_list(
    "gradient_equilibrium", ["off", "on"], "Gradient Equilibrium: off, on, or both to search"
)
_ALPHAS = flags.DEFINE_list(
    "alphas", ["0.05", "0.95"], "range of the share of the labels beside the teacher, in phase II"
)
_DISTILLATION_TEMPERATURES = flags.DEFINE_list(
    "distillation_temperatures", ["1", "8"], "range of the distillation's temperature, in phase II"
)


class MultiExitSearch:
    """A search for a network with several exits as the flags want it.

    Attributes:
        dataset: `ImageDataset`.
        space: list of `Range` and `Choice`.
        fixed_points, target_gflops: see `write_search_report`: there are none.

    Raises:
        InputError: what is wrong with the flags, before anything is trained.
    """

    fixed_points = ()
    target_gflops = None

    def __init__(self):
        network_flags.fill_preset()
        recipe = published_recipe(network_flags.MODEL.value, network_flags.PRESET.value)
        drop_shares = recipe.pop("drop_shares")
        program.fill_unset(**recipe, warmup_epochs=0.0)
        self._dtype = training_flags.layers_dtype()
        check_whole("phase_2_epochs", _PHASE_2_EPOCHS.value, least=0)
        self.space = _space()
        check_space(self.space)
        self.dataset = training_flags.data_of(search_flags.DATASET.value)
        epochs = search_flags.EPOCHS.value
        self._descent = search_flags.shared_descent(self.dataset, epochs=epochs).with_drop_shares(
            drop_shares
        )
        self._exits = len(self._build("float32").outputs)
        check_training(
            self.dataset,
            epochs=epochs,
            batch_size=search_flags.BATCH_SIZE.value,
            seed=search_flags.SEED.value,
            checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
        )
        # Made and dropped: its numbers are refused now, not in the first trial.
        self._descent.learning_rate_schedule()

    def config(self):
        """Every setting of the search, in values JSON can hold."""
        return program.flag_values() | self.dataset.description()

    def start(self, run_dir):
        """The `MultiExitTrainer`; nothing is shared by the trials."""
        del run_dir
        print("Objective: mean validation accuracy of all exits", flush=True)
        return MultiExitTrainer(
            self.dataset,
            self._build,
            dtype=self._dtype,
            descent=self._descent,
            phase_2_epochs=_PHASE_2_EPOCHS.value,
            batch_size=search_flags.BATCH_SIZE.value,
            seed=search_flags.SEED.value,
            checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
            progress=TerminalProgress(),
        )

    def flag_files(self, values, run_dir):
        """The flags of `trainers.train_multi_exit` and `trainers.train_collaboration`.

        Args:
            values: dict of a trial's hyperparameters.
            run_dir: not needed.

        Returns:
            Dictionary from a file's name to a dictionary of flags.
        """
        del run_dir
        weights = exit_weight_ramp(values["exit_weight_ratio"], self._exits)
        first = {
            "model": network_flags.MODEL.value,
            "preset": network_flags.PRESET.value,
            "dataset": search_flags.DATASET.value,
            "exit_weights": ",".join(map(str, weights)),
            "gradient_equilibrium": values["gradient_equilibrium"] == "on",
            "epochs": search_flags.EPOCHS.value,
            "learning_rate": search_flags.LEARNING_RATE.value,
        }
        files = {"best.flags": first | search_flags.shared_flags()}
        if _PHASE_2_EPOCHS.value:
            names = ("schedule", "learning_rate", "momentum", "nesterov", "weight_decay")
            files["best_collaboration.flags"] = {
                "alpha": values["alpha"],
                "temperature": values["distillation_temperature"],
                "epochs": _PHASE_2_EPOCHS.value,
                "batch_size": search_flags.BATCH_SIZE.value,
                "seed": search_flags.SEED.value,
                **{name: getattr(self._descent, name) for name in names},
            }
        return files

    def _build(self, dtype):
        return build_network(
            network_flags.MODEL.value,
            network_flags.PRESET.value,
            input_shape=self.dataset.image_shape,
            num_classes=self.dataset.num_classes,
            dtype=dtype,
        )


def _space():
    choices = tuple(dict.fromkeys(_GRADIENT_EQUILIBRIUM.value))
    for choice in choices:
        check_choice("gradient_equilibrium", choice, ("off", "on"))
    if not choices:
        raise InputError("`gradient_equilibrium` must be off, on, or both. Received: neither")
    space = [
        search_flags.range_of(_EXIT_WEIGHT_RATIOS, "exit_weight_ratio", default=1.0),
        Choice("gradient_equilibrium", choices, "off"),
    ]
    if not _PHASE_2_EPOCHS.value:
        return space
    alphas = search_flags.range_of(_ALPHAS, "alpha", default=0.1, log=False)
    for alpha in (alphas.least, alphas.most):
        check_distillation(alpha, 1.0)
    temperatures = search_flags.range_of(
        _DISTILLATION_TEMPERATURES, "distillation_temperature", default=3.0
    )
    return [*space, alphas, temperatures]
