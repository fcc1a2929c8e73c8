"""Searches for the settings of a training with keras-tuner.

    python -m trainers.tune --preset drnet_resnet6_grey --dataset fashion_mnist_scaled \
        --target_gflops 0.045 --epochs 4 --run_dir runs/search

--tuner drnet searches a DRNet's second phase: the weight of the FLOPs loss, the target inside it,
the temperature of the choice at first and at the end, the predictor's learning rate and, with
--other_resolutions, the candidates. The first phase is trained once, at all candidates together,
and shared by the trials. Objective: validation accuracy at the target cost, which is the accuracy
less λ for each GFLOP of the classifier's mean cost above the target; being cheaper earns nothing. λ
is the most accuracy that a GFLOP buys between neighbouring fixed resolutions of the first phase.

--tuner multi_exit searches a ramp of the exits' weights and Gradient Equilibrium in phase I, and
alpha and temperature of One-for-all distillation in phase II of IMTA. Objective: the mean of the
exits' validation accuracies.

The first trial is the training program's own defaults. After every trial RUN_DIR has trials.csv,
pareto.csv, pareto.png, and best.flags, which the training program takes with --flagfile. A search
that was interrupted goes on with --resume.
"""

import json
import pathlib

from absl import flags

from tf_adaptive.cross_entropy import check_label_smoothing
from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.files import replaced_whole
from tf_adaptive.programs import program
from tf_adaptive.programs.flag_file import write_flag_file
from tf_adaptive.runs.directory import open_run, read_config
from tf_adaptive.training.strategy import check_batch_size
from tf_adaptive.tuning.search_report import write_search_report
from tf_adaptive.tuning.trials import FINISHED, Trials, best_trial

from .flags import drnet_search as drnet_flags
from .flags import multi_exit_search as multi_exit_flags
from .flags import network as network_flags
from .flags import search as search_flags
from .flags import strategy as strategy_flags
from .flags import training as training_flags
from .flags.resumed import MAY_DIFFER
from .searches.drnet import DRNetSearch
from .searches.multi_exit import MultiExitSearch

_FLAGS_OF_TUNER = {"drnet": drnet_flags, "multi_exit": multi_exit_flags}
for _module in (
    *(network_flags, training_flags, strategy_flags, search_flags),
    *_FLAGS_OF_TUNER.values(),
):
    flags.adopt_module_key_flags(_module)
_TUNER = flags.DEFINE_string("tuner", "drnet", "what is trained: drnet or multi_exit")
_SEARCH = flags.DEFINE_string("search", "bayesian", "bayesian, hyperband or random")
_TRIALS = flags.DEFINE_integer(
    "trials", None, "number of trials; 10 if unset, but with hyperband, whose --epochs decide"
)

_RESULT = "result.json"


def main():
    check_choice("tuner", _TUNER.value, _FLAGS_OF_TUNER)
    _refuse_flags_of_other_tuners()
    # Only here, so that nothing else needs keras-tuner.
    from tf_adaptive.tuning.search import METHODS, check_search, search

    check_choice("search", _SEARCH.value, METHODS)
    _check_flags()
    if _SEARCH.value != "hyperband":
        program.fill_unset(trials=10)
    devices = strategy_flags.chosen(several_processes=False)
    settings, setup = _setup(devices)
    method = {
        "method": _SEARCH.value,
        "count": _TRIALS.value,
        "epochs": settings.descent.epochs,
        "seed": settings.seed,
    }
    check_search(setup.space, **method)
    check_batch_size(settings.batch_size, devices.replicas)

    run_dir = pathlib.Path(search_flags.RUN_DIR.value)
    _open(run_dir, settings.config)
    trials = Trials(run_dir)
    if (run_dir / _RESULT).exists():
        print(f"The search in {run_dir} is finished: no trial is started.")
    else:
        trainer = setup.start(run_dir)
        begun, done = _tellers(run_dir, trials, setup)
        search(setup.space, trainer, trials, begun=begun, done=done, **method)
        _write(run_dir, trials.all(), setup)
        _write_result(run_dir, trials.all())
    _print_result(run_dir, trials.all())


def _check_flags():
    """Refuses what can be refused of both tuners' flags before data are prepared."""
    check_label_smoothing(training_flags.LABEL_SMOOTHING.value)
    check_whole("seed", search_flags.SEED.value, least=0, most=2**32 - 2)
    for flag in (search_flags.BATCH_SIZE, search_flags.EPOCHS):
        if flag.value is not None:
            check_whole(flag.name, flag.value, least=1)


def _setup(devices):
    """The settings that the flags ask for, and the search that has them."""
    if _TUNER.value == "drnet":
        settings = drnet_flags.drnet_settings(devices)
        return settings, DRNetSearch(settings)
    settings = multi_exit_flags.multi_exit_settings(devices)
    return settings, MultiExitSearch(settings)


def _tellers(run_dir, trials, setup):
    """What is done when a trial begins and when it is done, two functions of the `Trial`."""

    def begun(trial):
        count = f" of {_TRIALS.value}" if _TRIALS.value else ""
        what = "the defaults" if trial.number == 1 else _told(trial.values)
        print(f"\nTrial {trial.number}{count}: {what}", flush=True)

    def done(trial):
        _write(run_dir, trials.all(), setup)
        print(f"Trial {trial.number}: {_reached(trial)}", flush=True)

    return begun, done


def _refuse_flags_of_other_tuners():
    for tuner, module in _FLAGS_OF_TUNER.items():
        if tuner == _TUNER.value:
            continue
        for flag in flags.FLAGS.get_key_flags_for_module(module):
            if flag.present:
                raise InputError(
                    f"`{flag.name}` must be left out with --tuner {_TUNER.value}: it is one of "
                    f"{tuner}'s. Received: {flag.name}={flag.value!r}."
                )


def _open(run_dir, config):
    """Makes the search's directory, or checks that it is the one to continue."""
    resume = training_flags.RESUME.value
    if resume and "tuner" not in read_config(run_dir):
        raise InputError(
            f"`run_dir` must be the directory of a search to resume. Received: {run_dir}, which "
            "holds a training."
        )
    open_run(run_dir, config, resume=resume, may_differ=MAY_DIFFER)


def _write(run_dir, trials, setup):
    """All that a search leaves beside its trials, as far as it is."""
    write_search_report(
        run_dir, trials, fixed_points=setup.fixed_points, target_gflops=setup.target_gflops
    )
    best = best_trial(trials)
    if best is not None:
        for name, values in setup.flag_files(best.values, run_dir).items():
            write_flag_file(run_dir / name, values)


def _write_result(run_dir, trials):
    """What makes the search a finished one: its best trial."""
    best = best_trial(trials)
    if best is None:
        raise InputError(
            "A trial of the search must end with a finite loss. Received: none that does; search "
            "anew with a lower --learning_rate."
        )
    with replaced_whole(run_dir / _RESULT) as temporary:
        result = {"best_trial": best.number, "objective": best.objective}
        temporary.write_text(json.dumps(result, indent=2) + "\n")


def _print_result(run_dir, trials):
    print()
    for trial in trials:
        print(f"{trial.number:>4}  {_reached(trial)}  {_told(trial.values)}")
    best, defaults = best_trial(trials), trials[0]
    print(f"\nBest is trial {best.number}: {_reached(best)}")
    if defaults.status != FINISHED:
        print("The defaults failed.")
    elif best.number == defaults.number:
        print("That is the defaults: no other trial beats them.")
    else:
        gain = best.objective - defaults.objective
        print(f"It beats the defaults, trial 1 ({_reached(defaults)}), by {gain:.2f}.")
    print(f"Tables, figure and flags: {run_dir}")


def _reached(trial):
    if trial.status != FINISHED:
        return f"{trial.status}: {trial.message}"
    return (
        f"{trial.accuracy_percent:.2f} % at {trial.mean_gflops:.4g} GFLOPs, "
        f"objective {trial.objective:.2f}"
    )


def _told(values):
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs", "tune"))
