"""What the experiments on DRNet (Zhu et al. 2021) share: networks, epochs, and one stage 1."""

from tf_adaptive.runs.tables import read_report

from . import flags as shared

# By scale: flags of every DRNet, the classifier alone, and the targets in GFLOPs.
SCALES = {
    "paper": {
        "drnet": {"preset": "drnet_resnet50"},
        "classifier": {"backbone": "resnet50", "epochs": 100},
        "resolution": 224,
        "targets": (2.0, 2.5, 3.0, 3.5),
    },
    "small": {
        "drnet": {
            **{"preset": "drnet_resnet6_grey", "schedule": "cosine", "batch_size": 64},
            **{"stage_1_epochs": 4, "stage_2_epochs": 2, "warmup_epochs": 0.5},
            **{"stage_2_learning_rate": 0.03, "predictor_learning_rate_factor": 1},
        },
        "classifier": {
            **{"backbone": "resnet6_grey", "schedule": "cosine", "batch_size": 64, "epochs": 6},
        },
        "resolution": 96,
        "targets": (0.03, 0.045, 0.06),
    },
}


def trained_drnet(name, scale, seed, *, stage_1_from=None, **more):
    """The directory of a finished DRNet.

    Args:
        name: what a person knows it by.
        scale: one of `SCALES`.
        seed: of the training.
        stage_1_from: directory of another one whose stage 1 to start from.
        more: flags of trainers.train_drnet.
    """
    flags = {
        **SCALES[scale]["drnet"],
        **shared.of_data(),
        **{"seed": seed, "stage_1_from": stage_1_from},
        **more,
    }
    return shared.trained_cell(f"{name} seed {seed}", "trainers.train_drnet", flags)


def trained_classifier(name, scale, seed, **more):
    """The directory of a finished network with one exit, with flags of trainers.train_static."""
    flags = {
        **SCALES[scale]["classifier"],
        "weights": "none",
        **shared.of_data(),
        "seed": seed,
        **more,
    }
    return shared.trained_cell(f"{name} seed {seed}", "trainers.train_static", flags)


def router_row(run_dir):
    """What a DRNet's own choice reaches, a dictionary of texts of `comparison.csv`."""
    (router,) = (row for row in read_report(run_dir, "comparison") if row["choice"] == "router")
    return router
