"""Each image at the resolution picked for it: in training, in use, folded and served."""

import keras
import tensorflow as tf

from tf_adaptive.graph.constant_weights import ConstantWeights
from tf_adaptive.images import are_finite, checked_images, in_batches, joined


class Routing:
    """A DRNet as it is used: each image at the resolution that the predictor picks for it.

    A branch computes the images that were sent to it and no others; one that nobody was sent to is
    not run. All of it is one graph function of a batch of any size, 0 included. An image with NaN
    or infinite pixels is refused; where the call is part of a graph, which cannot, it goes to the
    largest resolution and has confidence 0.

    Args:
        model: `tf_adaptive.DRNet`.
        networks: `(predictor, branches)` to run in place of the model's own, of the same inputs
            and outputs, such as folded ones; None for the model's.
        constant_weights: whether the weights that they have now become constants of the graph:
            single images and small batches take less time. What is trained later is not seen then.

    Attributes:
        model: as given.
        predictor, branches: the networks that are run.
        resolutions: the candidates in pixels, largest first.

    Example:
        >>> routed = ta.Routing(drnet)
        >>> answer = routed(images)
        >>> sorted(answer)
        ['class', 'confidence', 'probabilities', 'resolution']
        >>> routed.predict(data.batches("test", 64))["resolution"].shape
        (359,)
    """

    def __init__(self, model, *, networks=None, constant_weights=False):
        self.model = model
        predictor, branches = networks or (model.predictor, model.branches)
        if constant_weights:
            predictor, *branches = map(ConstantWeights, (predictor, *branches))
        self.predictor, self.branches = predictor, list(branches)
        self.resolutions = tuple(model.resolutions)
        self._images = tf.TensorSpec((None, *model.input_shape[1:]), "float32")
        self._run = tf.function(lambda images: self.run([images]), input_signature=[self._images])

    def __call__(self, images):
        """Classifies a batch.

        Args:
            images: float `(batch, r, r, channels)`, normalised as in training, r the largest
                candidate.

        Returns:
            Dictionary, in the order of `images`: "class" int32 `(batch,)`, "probabilities"
            float32 `(batch, classes)` at the image's resolution, "confidence" float32 `(batch,)`,
            the largest of them, and "resolution" int32 `(batch,)` in pixels.

        Raises:
            InputError: images of the wrong rank, dtype, size or channel count, or with NaN or
                infinite pixels.
        """
        return self._run(checked_images(images, self._images))

    def predict(self, images, *, batch_size=256):
        """Classifies any number of images.

        Args:
            images: array as `__call__` takes, or a `tf.data.Dataset` of batches: of images, or of
                `(images, labels)` whose labels are left alone.
            batch_size: images per batch when `images` is an array.

        Returns:
            Dictionary as `__call__` gives, of numpy arrays over all images.

        Raises:
            InputError: as `__call__`; a batch size that is no whole number from 1 on; no
                batches.
        """
        return joined(map(self, in_batches(images, batch_size)))

    def run(self, inputs):
        """What `__call__` runs, for a graph that it is to be part of.

        Args:
            inputs: list of one tensor, the images as `__call__` takes them.

        Returns:
            Dictionary as `__call__` gives.
        """
        (images,) = inputs
        finite = are_finite(inputs)
        choice = tf.where(finite, likeliest(self.preferences(images)), 0)
        at = list(zip(self.branches, self.resolutions, strict=True))
        probabilities = tf.nn.softmax(logits_where_chosen(at, images, choice))
        return {
            "class": likeliest(probabilities),
            "probabilities": probabilities,
            "confidence": tf.where(finite, tf.reduce_max(probabilities, axis=-1), 0.0),
            "resolution": tf.gather(tf.constant(self.resolutions), choice),
        }

    def preferences(self, images):
        """The predictor's probability of each resolution, float32 `(batch, m)`, for a graph."""
        return tf.nn.softmax(logits_at(self.predictor, images, self.model.predictor_resolution))


def likeliest(scores):
    """The index of the highest of each image's scores, int32 `(batch,)`."""
    return tf.argmax(scores, axis=-1, output_type="int32")


def logits_where_chosen(branches, images, choice, training=False):
    """Logits `(batch, classes)` of each image by the branch chosen for it, in float32.

    Args:
        branches: list of `(model, resolution)`, see `logits_at`.
        images: `(batch, r, r, channels)`.
        choice: int32 `(batch,)`, indices into `branches`.
        training: as the branches take it.
    """
    rows = tf.dynamic_partition(tf.range(tf.size(choice)), choice, len(branches))
    answers = [
        logits_at(model, tf.gather(images, own_rows), resolution, training)
        for (model, resolution), own_rows in zip(branches, rows, strict=True)
    ]
    return tf.dynamic_stitch(rows, answers)


def logits_at(model, images, resolution, training=False):
    """Logits `(batch, classes)` in float32 of a model at its resolution, for a batch of any size.

    Args:
        model: functional `keras.Model` of one input and one output.
        images: `(batch, r, r, channels)`, resized where `resolution` is not r.
        resolution: height and width of the images that the model takes.
        training: as the model takes it.
    """
    # Convolutions of an empty batch give the wrong shape, besides updating batch norms with it.
    logits = tf.cond(
        tf.shape(images)[0] > 0,
        lambda: logits_of_some(model, images, resolution, training),
        lambda: tf.zeros((0, model.output_shape[-1])),
    )
    return tf.ensure_shape(logits, (None, model.output_shape[-1]))


def logits_of_some(model, images, resolution, training):
    return tf.cast(model(resized(images, resolution), training=training), "float32")


def resized(images, resolution):
    if images.shape[1] == resolution:
        return images
    return keras.ops.image.resize(images, (resolution, resolution), interpolation="bilinear")
