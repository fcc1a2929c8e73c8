"""Runs every stage on full batches: survivors of many batches are put together between stages."""

import functools

import numpy as np
import tensorflow as tf


class Regrouping:
    """The stages of an `EarlyExit`, each run on as many samples as it is to have.

    Survivors wait before a stage until there are enough of them, and in the end the rest is run.
    Before each stage wait fewer than `batch_size` samples and those of the latest batch, so memory
    does not grow with the number of images.

    Args:
        early_exit: `EarlyExit`.
        batch_size: samples that the stages after the first are run on.
    """

    def __init__(self, early_exit, batch_size):
        self._batch_size = batch_size
        self._names = [stage.takes for stage in early_exit.stages]
        self._run, specs = [], dict(zip(self._names[0], early_exit.input_specs, strict=True))
        for stage in early_exit.stages:
            run = functools.partial(early_exit.run_stage_alone, stage)
            self._run.append(tf.function(run, input_signature=[specs], autograph=False))
            specs = {
                name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)
                for name, tensor in stage.state.items()
            }

    def predict(self, batches):
        """Classifies batches.

        Args:
            batches: iterable of what stage 1 takes, lists of tensors whose first axis is the batch.

        Returns:
            Dictionary of numpy arrays over all images, in their order, as `EarlyExit` gives; None
            where there was no batch.
        """
        waiting = [_Waiting() for _ in self._run]
        answers = []

        def run(place, positions, state):
            names = self._names[place]
            done, answer, stay, kept = self._run[place](dict(zip(names, state, strict=True)))
            answers.append((positions[done], {name: v.numpy() for name, v in answer.items()}))
            if place + 1 < len(self._run):
                waiting[place + 1].add(positions[stay], kept)

        images = 0
        for inputs in batches:
            count = len(inputs[0])
            run(0, np.arange(images, images + count), inputs)
            images += count
            for place in range(1, len(waiting)):
                while len(waiting[place]) >= self._batch_size:
                    run(place, *waiting[place].take(self._batch_size))
        for place in range(1, len(waiting)):
            while len(waiting[place]):
                run(place, *waiting[place].take(self._batch_size))
        if not answers:
            return None
        order = np.argsort(np.concatenate([positions for positions, _ in answers]))
        names = answers[0][1]
        return {name: np.concatenate([a[name] for _, a in answers])[order] for name in names}


class _Waiting:
    """Samples before a stage: their positions among all images, and their state."""

    def __init__(self):
        self._parts = []

    def __len__(self):
        return sum(len(positions) for positions, _ in self._parts)

    def add(self, positions, state):
        if len(positions):
            self._parts.append((positions, state))

    def take(self, count):
        """`(positions, state)` of the first ones."""
        positions = np.concatenate([positions for positions, _ in self._parts])
        state = [
            tf.concat(tensors, 0) for tensors in zip(*(s for _, s in self._parts), strict=True)
        ]
        self._parts.clear()
        self.add(positions[count:], [tensor[count:] for tensor in state])
        return positions[:count], [tensor[:count] for tensor in state]
