"""Trains a network with one exit, to compare networks with several to, or to attach exits to.

    python -m trainers.train_static --backbone keras_applications:MobileNetV2 --weights none \
        --width 0.5 --dataset fashion_mnist --image_size 32 --run_dir runs/mobilenet_v2

--backbone is a network of keras.applications, a preset of one of ours, a .keras file or a finished
run; see trainers.flags.backbone. Data, recipes and reports are those of trainers.train_multi_exit:
SGD with Nesterov's momentum 0.9, weight decay 1e-4, rate 0.1; for images of up to 64 pixels a side
300 epochs at batch 64, the rate divided by 10 after a half and three quarters of them, for larger
ones 90 at batch 256, after one and two thirds. Trained weights want a lower --learning_rate.
"""

import keras
from absl import flags

from tf_adaptive.graph.precision import copy_weights, with_dtype
from tf_adaptive.programs import program
from tf_adaptive.runs.directory import finish_run
from tf_adaptive.runs.evaluate import report_run
from tf_adaptive.training.multi_exit_phases import phase_1_step
from tf_adaptive.training.recipes import recipe_for_images

from .flags import backbone as backbone_flags
from .flags import network_training
from .flags import pruning as pruning_flags
from .flags import strategy as strategy_flags
from .flags import training as training_flags

flags.adopt_module_key_flags(backbone_flags)
flags.adopt_module_key_flags(network_training)
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(pruning_flags)
flags.adopt_module_key_flags(strategy_flags)


def main():
    dtype = training_flags.layers_dtype()
    network_training.check_flags()
    pruning_flags.check_flags()
    run_dir = network_training.RUN_DIR.value
    devices = strategy_flags.chosen()
    if strategy_flags.is_done(devices, run_dir, resume=training_flags.RESUME.value):
        return
    keras.utils.set_random_seed(network_training.SEED.value)
    with devices.scope():
        network, dataset = backbone_flags.load_backbone(network_training.DATASET.value)
        drop_shares = network_training.fill_recipe(recipe_for_images(dataset.image_shape))
        epochs = network_training.EPOCHS.value
        model = network if dtype is None else with_dtype(network, dtype)
        descent = network_training.descent(dataset, drop_shares, epochs=epochs)
        step = phase_1_step(
            model,
            descent,
            pruning=pruning_flags.pruning_of(model, steps=descent.steps),
        )
    network_training.train_in(
        run_dir,
        step,
        dataset,
        devices=devices,
        epochs=epochs,
        config=program.flag_values() | dataset.description(),
        resume=training_flags.RESUME.value,
    )
    strategy_flags.leave_to_chief(devices)
    # The run's model is a float32 one whatever it was trained in: it is what is measured.
    if model is not network:
        copy_weights(model, network)
    finish_run(run_dir, network)
    report_run(run_dir, dataset=dataset)


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
