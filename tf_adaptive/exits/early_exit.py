"""Runs a batch through the stages and drops each sample as soon as it is done."""

import dataclasses

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.outputs import exit_tensors, with_exits
from tf_adaptive.exits.regrouping import Regrouping
from tf_adaptive.exits.stages import check_cheapest_first, split_stages
from tf_adaptive.exits.thresholds import MEASURES, check_thresholds, confidence_scores
from tf_adaptive.graph.final_activation import exits_as_logits
from tf_adaptive.images import are_finite, checked_images, count_of, in_batches, joined


class EarlyExit:
    """A multi-exit model that stops computing where it is sure enough.

    A sample leaves at the first exit k whose confidence is at least threshold k, the last exit
    takes the rest (Huang et al. 2018, budgeted batch classification). Between two stages the
    samples that left are dropped, so the next stage computes a smaller batch; a stage that nobody
    reaches is not run. An exit that is off is not computed: its stage is one with the next. All of
    it is one graph function of a batch of any size, 0 included. An image with NaN or infinite
    pixels is refused; where the call is part of a graph, which cannot, it goes to the last exit and
    has confidence 0.

    Args:
        model: functional `keras.Model` with K exits, as `split_stages` takes.
        thresholds: an `OperatingPoint`, or K − 1 numbers in [0, 1]; None for an exit that is off.
        measure: confidence of `confidence_scores`; None for that of the operating point, or
            "max_probability".
        enabled_exits: numbers of the exits that may be on, from 1; None for all. The last always
            is.
        constant_weights: whether the weights that the model has now become constants of the graph:
            single images and small batches take a quarter to a half less time. What is trained
            later is not seen then.

    Attributes:
        model: as given, but for what made probabilities of its logits.
        measure: of the thresholds.
        enabled_exits: numbers of the exits that are on.
        stages: the `Stage`s between them.
        point: the `OperatingPoint`.
        thresholds: float32 `(K − 1,)`; infinite for an exit that is off.
        constant_weights: as given.
        input_specs: a `tf.TensorSpec` of each input, in the order of stage 1's `takes`.

    Raises:
        InputError: what `split_stages` raises; exits with the dearest first; thresholds of the
            wrong number, outside [0, 1] or NaN; an unknown measure, or another than the operating
            point's; an exit that the model has not.

    Example:
        >>> fast = ta.EarlyExit(model, [0.9, 0.8, 0.7], constant_weights=True)
        >>> answer = fast(images)
        >>> sorted(answer)
        ['class', 'confidence', 'exit', 'probabilities']
        >>> fast.predict(data.batches("test", 64))["exit"].shape
        (359,)
    """

    def __init__(
        self, model, thresholds, *, measure=None, enabled_exits=None, constant_weights=False
    ):
        exit_tensors(model)
        self.model = exits_as_logits(model)
        num_exits = len(self.model.outputs)
        self.point = _point(thresholds, measure, num_exits)
        if enabled_exits is not None:
            self.point = dataclasses.replace(self.point, enabled_exits=enabled_exits)
        self.enabled_exits = self.point.enabled_exits
        self.stages = split_stages(with_exits(self.model, self.enabled_exits))
        check_cheapest_first(self.model)
        self.constant_weights = constant_weights
        if constant_weights:
            self.stages = [stage.with_constant_weights() for stage in self.stages]
        self.thresholds, self.measure = self.point.thresholds, self.point.measure
        self._scales = self.point.scales
        self.input_specs = [
            tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs
        ]
        self._num_classes = model.outputs[0].shape[-1]
        self._run = tf.function(lambda *inputs: self.run(inputs), input_signature=self.input_specs)

    def __call__(self, images):
        """Classifies a batch.

        Args:
            images: float `(batch, height, width, channels)`, normalised as in training; for a
                model of several inputs, their structure.

        Returns:
            Dictionary, in the order of `images`: "class" int32 `(batch,)`, "probabilities"
            float32 `(batch, classes)` of the exit the image left at, "confidence" float32
            `(batch,)` of that exit by `measure`, "exit" int32 `(batch,)` counted from 1.

        Raises:
            InputError: images of the wrong rank, dtype, size or channel count, with NaN or
                infinite pixels, or not as many in every input.
        """
        return self._run(*self._checked(images))

    def predict(self, images, *, batch_size=256, regroup_to=None):
        """Classifies any number of images.

        Args:
            images: array as `__call__` takes, or a `tf.data.Dataset` of batches: of images, or of
                `(images, labels)` whose labels are left alone.
            batch_size: images per batch when `images` is an array.
            regroup_to: run the stages after the first on as many images as this, survivors of
                several batches together; the answers are the same to rounding. It pays where
                batches are small, up to 32 images or so; None runs each batch by itself.

        Returns:
            Dictionary as `__call__` gives, of numpy arrays over all images.

        Raises:
            InputError: as `__call__`; a batch size that is no whole number from 1 on; no
                batches.
        """
        batches = in_batches(images, batch_size)
        if regroup_to is None:
            return joined(map(self, batches))
        check_whole("regroup_to", regroup_to, least=1)
        answers = Regrouping(self, regroup_to).predict(map(self._checked, batches))
        return joined([]) if answers is None else answers

    def run(self, inputs, thresholds=None):
        """What `__call__` runs, for a graph that it is to be part of.

        Args:
            inputs: list of tensors, one per input of the model, as `__call__` takes.
            thresholds: float32 `(batch, K − 1)`, for each sample its own, above 1 for an exit that
                it does not leave at; None for those that all have. Exits that are off stay so.

        Returns:
            Dictionary as `__call__` gives.
        """
        batch = tf.shape(inputs[0])[0]
        if thresholds is None:
            thresholds = self.thresholds_for(inputs[0])
        answer = {
            "probabilities": tf.zeros((batch, self._num_classes)),
            "confidence": tf.zeros((batch,)),
            "exit": tf.zeros((batch,), "int32"),
        }
        # Rows of the batch that are still on their way, and the state of each.
        rows = tf.range(batch)
        # A network can hide a NaN: it is looked for in the images.
        finite = are_finite(inputs)
        state = dict(zip(self.stages[0].takes, inputs, strict=True))
        for stage in self.stages:
            done, answer_of_done, rows, state = self._run_stage(
                stage, rows, state, thresholds, finite
            )
            for name, values in answer_of_done.items():
                answer[name] = tf.tensor_scatter_nd_update(answer[name], done[:, None], values)
        classes = tf.argmax(answer["probabilities"], axis=-1, output_type="int32")
        return {"class": classes, **answer}

    def thresholds_for(self, images):
        """The thresholds once for each of a batch of images, float32 `(batch, K − 1)`."""
        return tf.broadcast_to(self.thresholds, (tf.shape(images)[0], len(self.thresholds)))

    def run_stage_alone(self, stage, state):
        """What a stage makes of samples that came to it together, for a graph.

        Args:
            stage: one of `stages`.
            state: dictionary of what it takes.

        Returns:
            `(done, answer, stay, kept)`: positions of the samples that leave and their answer as
            `__call__` gives, positions of those that go on and the list of their state. An image
            that is not finite is known by stage 1 only, which is to have refused it.
        """
        first = state[stage.takes[0]]
        rows = tf.range(tf.shape(first)[0])
        finite = tf.ones_like(rows, bool)
        done, answer, stay, kept = self._run_stage(
            stage, rows, state, self.thresholds_for(first), finite
        )
        classes = tf.argmax(answer["probabilities"], axis=-1, output_type="int32")
        return done, {"class": classes, **answer}, stay, [kept[name] for name in stage.state]

    def _checked(self, images):
        """The inputs of a batch as a list of tensors; see `__call__`."""
        count_of(images)
        names = self.stages[0].takes
        if isinstance(images, dict):
            images = [images[name] for name in names if name in images]
        inputs = keras.tree.flatten(images)
        if len(inputs) != len(names):
            raise InputError(
                f"`images` must be the model's {len(names)} inputs ({', '.join(names)}). "
                f"Received: {len(inputs)} of them."
            )
        return [*map(checked_images, inputs, self.input_specs)]

    def _run_stage(self, stage, rows, state, thresholds, finite):
        """Rows done at this stage, their answer, rows that go on, and their state."""

        number = self.enabled_exits[stage.number - 1]

        def run():
            logits, handed_on = stage(state)
            logits = tf.cast(logits, "float32") * self._scales[number - 1]
            known = tf.gather(finite, rows)
            confidence = confidence_scores(logits, self.measure)
            answer = {
                "probabilities": tf.nn.softmax(logits),
                "confidence": tf.where(known, confidence, 0.0),
                "exit": tf.fill(tf.shape(rows), number),
            }
            if stage.number == len(self.stages):
                return rows, answer, rows[:0], []
            sure = answer["confidence"] >= tf.gather(thresholds[:, number - 1], rows)
            leaves = known & sure
            done, stay = (tf.where(chosen)[:, 0] for chosen in (leaves, ~leaves))
            return (
                tf.gather(rows, done),
                {name: tf.gather(values, done) for name, values in answer.items()},
                tf.gather(rows, stay),
                [tf.gather(handed_on[name], stay) for name in stage.state],
            )

        def skip():
            answer = {
                "probabilities": tf.zeros((0, self._num_classes)),
                "confidence": tf.zeros((0,)),
                "exit": tf.zeros((0,), "int32"),
            }
            kept = [
                tf.zeros((0, *(size or 0 for size in tensor.shape[1:])), tensor.dtype)
                for tensor in stage.state.values()
            ]
            return rows, answer, rows, kept

        # Convolutions of an empty batch give the wrong shape, besides being work for nobody.
        done, answer, rows, kept = tf.cond(tf.size(rows) > 0, run, skip)
        for tensor, symbolic in zip(kept, stage.state.values(), strict=True):
            tensor.set_shape((None, *symbolic.shape[1:]))
        return done, answer, rows, dict(zip(stage.state, kept, strict=True))


def _point(thresholds, measure, num_exits):
    """The operating point that thresholds stand for, or are."""
    if measure is not None:
        check_choice("measure", measure, MEASURES)
    if not isinstance(thresholds, OperatingPoint):
        return OperatingPoint.by_hand(thresholds, measure or MEASURES[0], num_exits)
    if measure not in (None, thresholds.measure):
        raise InputError(
            f"`measure` must be that of the operating point, {thresholds.measure!r}, or be left "
            f"out. Received: measure={measure!r}."
        )
    check_thresholds(thresholds.thresholds, num_exits)
    return thresholds
