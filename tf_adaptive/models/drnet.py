"""DRNet: a predictor picks the resolution that each image is classified at."""

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.graph.calls import is_functional
from tf_adaptive.graph.final_activation import exits_as_logits
from tf_adaptive.images import checked_images
from tf_adaptive.layers import StraightThroughGumbel
from tf_adaptive.models.inverted_residual import inverted_residual_network
from tf_adaptive.models.presets import DRNET_PRESETS
from tf_adaptive.models.resnet import ResNet
from tf_adaptive.replicas import is_divided
from tf_adaptive.routing.branches import check_resolutions, resolution_branches
from tf_adaptive.routing.dispatch import (
    likeliest,
    logits_at,
    logits_of_some,
    logits_where_chosen,
    resized,
)


@keras.saving.register_keras_serializable(package="tf_adaptive")
class DRNet(keras.Model):
    """Dynamic Resolution Network (Zhu et al. 2021).

    A small predictor sees every image at a low resolution and picks one of m candidates for it;
    the classifier runs at that resolution, and at no other for that image; in training too, but
    for batches that are dense (see `route`). The candidates share the classifier's layers but for
    its batch norms, see `resolution_branches`.

    `model(images)` is the logits `(batch, classes)`, float32. Images are float
    `(batch, r, r, channels)`, normalised, with r the largest candidate; the smaller ones are made
    of them by bilinear resizing. Outside a graph, images with NaN or infinite pixels are refused.

    Args:
        predictor: functional `keras.Model` from images to logits `(batch, m)`, one per candidate.
        classifier: functional `keras.Model` as `resolution_branches` takes. Its own batch norms
            stay as they are: the branches have theirs.
        resolutions: the m candidates, largest first.
        predictor_resolution: height and width of the images that the predictor sees.
        shared_batch_norm: see `resolution_branches`.
        temperature: of `StraightThroughGumbel`; `model.choice.temperature` is the variable.
        seed: of `StraightThroughGumbel`.
        name: name of the model.

    Attributes:
        presets: what `from_preset` builds, by name.
        predictor, resolutions, predictor_resolution: as given.
        branches: functional models, one per candidate, in the order of `resolutions`.
        choice: the `StraightThroughGumbel` layer.
        input_shape: of the images, `(None, r, r, channels)`.

    Raises:
        InputError: what `resolution_branches` and `StraightThroughGumbel` raise; a predictor that
            does not fit the candidates, its resolution or the classifier's channels.

    Example:
        >>> drnet = ta.DRNet.from_preset(
        ...     "drnet_resnet6_grey", resolutions=(24, 16, 12), channels=1, num_classes=10)
        >>> drnet(images).shape[-1]
        10
    """

    presets = DRNET_PRESETS

    def __init__(
        self,
        predictor,
        classifier,
        resolutions,
        predictor_resolution,
        *,
        shared_batch_norm=False,
        temperature=1.0,
        seed=None,
        name="drnet",
    ):
        super().__init__(name=name)
        self.branches = resolution_branches(
            classifier, resolutions, shared_batch_norm=shared_batch_norm
        )
        self.resolutions = tuple(resolutions)
        check_whole("predictor_resolution", predictor_resolution, least=1)
        self.predictor_resolution = predictor_resolution
        images = self.branches[0].inputs[0]
        self._images = tf.TensorSpec((None, *images.shape[1:]), "float32")
        _check_predictor(
            predictor,
            input_shape=(predictor_resolution, predictor_resolution, images.shape[-1]),
            num_candidates=len(resolutions),
        )
        self.predictor = exits_as_logits(predictor)
        self.choice = StraightThroughGumbel(temperature, seed=seed, name="choice")
        self._config = {
            "predictor": keras.saving.serialize_keras_object(predictor),
            "classifier": keras.saving.serialize_keras_object(classifier),
            "resolutions": self.resolutions,
            "predictor_resolution": predictor_resolution,
            "shared_batch_norm": shared_batch_norm,
            "temperature": temperature,
            "seed": seed,
            "name": name,
        }
        self.built = True

    @classmethod
    def from_preset(
        cls,
        preset,
        *,
        dtype=None,
        shared_batch_norm=False,
        temperature=1.0,
        seed=None,
        name="drnet",
        **overrides,
    ):
        """A published configuration, or the small one of ours, its weights random.

        Args:
            preset: one of `presets`.
            dtype: dtype policy of the layers, such as "mixed_bfloat16".
            shared_batch_norm, temperature, seed, name: as the constructor's.
            **overrides: what differs from the preset, such as `num_classes`, `resolutions` or
                `predictor_resolution`.

        Raises:
            InputError: no preset has that name; what the constructor raises.
        """
        check_choice("preset", preset, cls.presets)
        arguments = {**cls.presets[preset], **overrides}
        predictor, classifier = _networks(**arguments, dtype=dtype)
        return cls(
            predictor,
            classifier,
            arguments["resolutions"],
            arguments["predictor_resolution"],
            shared_batch_norm=shared_batch_norm,
            temperature=temperature,
            seed=seed,
            name=name,
        )

    @property
    def input_shape(self):
        return tuple(self._images.shape)

    def call(self, images, training=False):
        return self.route(images, training=training)["logits"]

    def route(self, images, training=False, *, dense=False):
        """Picks a resolution for every image and classifies it there.

        Args:
            images: float `(batch, r, r, channels)`, normalised, r the largest candidate; any
                batch, 0 included.
            training: whether the choice is drawn, and batch norms use their batch: each branch's
                those of the images it is given. A branch that is given none does not run.
            dense: run every image at every resolution and answer Σ_j h_j F_j(x_j), as published
                trainings do: the same prediction at m times the cost, but the loss then has a
                gradient at every entry of h, which the predictor learns from, and batch norms see
                all images. In training only.

        Returns:
            Dictionary, in the order of `images`: "logits" float32 `(batch, classes)`; "choice"
            int32 `(batch,)`, the index into `resolutions`; "one_hot" float32 `(batch, m)`, h of
            the paper, which passes gradients on to the predictor where training is `dense`.
            Elsewhere the logits of the other branches are not there, and what the chosen one's say
            of h alone would strengthen whatever is chosen most, so the predictor gets none.

        Raises:
            InputError: images of another height, width or channel count.
        """
        images = checked_images(images, self._images)
        one_hot = self._one_hot(images, training)
        choice = likeliest(one_hot)
        at = list(zip(self.branches, self.resolutions, strict=True))
        if training and dense:
            answers = [
                logits_of_some(branch, images, resolution, True) for branch, resolution in at
            ]
            logits = tf.einsum("nm,mnc->nc", one_hot, tf.stack(answers))
        else:
            one_hot = tf.stop_gradient(one_hot)
            logits = logits_where_chosen(at, images, choice, training)
        return {"logits": logits, "choice": choice, "one_hot": one_hot}

    def choose(self, images):
        """Picks a resolution for every image and goes no further.

        Args:
            images: as `route` takes.

        Returns:
            int32 `(batch,)`, indices into `resolutions`; as "choice" of `route`.

        Raises:
            InputError: as `route`.
        """
        one_hot = self._one_hot(checked_images(images, self._images), training=False)
        return likeliest(one_hot)

    def branch_logits(self, images, resolution, training=False):
        """Classifies all images at one resolution, without the predictor.

        Args:
            images: as `route` takes.
            resolution: one of `resolutions`.
            training: whether the branch's batch norms use their batch.

        Returns:
            Logits `(batch, classes)`, float32.

        Raises:
            InputError: no candidate is that resolution; as `route`.
        """
        if resolution not in self.resolutions:
            raise InputError(
                f"`resolution` must be one of {', '.join(map(str, self.resolutions))}. "
                f"Received: resolution={resolution!r}."
            )
        branch = self.branches[self.resolutions.index(resolution)]
        return logits_at(branch, checked_images(images, self._images), resolution, training)

    def every_resolution(self):
        """All branches as one model, for training the classifier before the predictor.

        Returns:
            Functional `keras.Model` that shares the branches: from images as `route` takes to the
            list of logits `(batch, classes)` at each of `resolutions`, in their order.
        """
        images = keras.Input(self._images.shape[1:], name="images")
        logits = [
            branch(resized(images, resolution))
            for branch, resolution in zip(self.branches, self.resolutions, strict=True)
        ]
        return keras.Model(images, logits, name=f"{self.name}_at_every_resolution")

    def _one_hot(self, images, training):
        # On replicas no part of a batch is empty, and batch norms may not add up in a condition.
        run = logits_of_some if is_divided() else logits_at
        preferences = run(self.predictor, images, self.predictor_resolution, training)
        return self.choice(preferences, training=training)

    def fit(self, *_, **__):
        """Refuses: Keras's training knows nothing of the FLOPs loss, nor of the phase before.

        Raises:
            InputError: always.
        """
        raise InputError(
            "A DRNet must be trained by tf_adaptive.train or trainers.train_drnet, whose loss "
            "counts FLOPs. Received: a call of Keras's own training."
        )

    train_on_batch = fit

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        models = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("predictor", "classifier")
        }
        return cls(**{**config, **models})


def _check_predictor(predictor, *, input_shape, num_candidates):
    if not is_functional(predictor) or len(predictor.inputs) != 1 or len(predictor.outputs) != 1:
        raise InputError(
            "`predictor` must be a functional keras.Model of one input and one output. "
            f"Received: {getattr(predictor, 'name', predictor)!r}."
        )
    takes, gives = predictor.inputs[0].shape, tuple(predictor.outputs[0].shape)
    if not tf.TensorShape(takes).is_compatible_with((None, *input_shape)):
        raise InputError(
            f"`predictor` must take images of the shape {input_shape}: those of "
            "`predictor_resolution` and with the channels of `classifier`. "
            f"Received: one that takes {takes[1:]}."
        )
    if gives != (None, num_candidates):
        raise InputError(
            f"`predictor` must give {num_candidates} logits, one per resolution. "
            f"Received: one that gives the shape {gives}."
        )


def _networks(
    *, predictor, classifier, resolutions, predictor_resolution, channels, num_classes, dtype
):
    """The predictor and the classifier of a preset."""
    check_whole("num_classes", num_classes, least=2)
    check_resolutions(resolutions)
    check_whole("predictor_resolution", predictor_resolution, least=1)
    sees = {
        "input_shape": (predictor_resolution, predictor_resolution, channels),
        "num_classes": len(resolutions),
        "dtype": dtype,
        "name": "predictor",
    }
    if predictor == "inverted_residual":
        predictor = inverted_residual_network(**sees)
    else:
        predictor = ResNet.from_preset(predictor, **sees)
    if classifier == "mobilenet_v2":
        classifier = _mobilenet_v2((*resolutions[:1] * 2, channels), num_classes, dtype)
    else:
        classifier = ResNet.from_preset(
            classifier,
            input_shape=(None, None, channels),
            num_classes=num_classes,
            dtype=dtype,
            name=classifier,
        )
    return predictor, classifier


def _mobilenet_v2(input_shape, num_classes, dtype):
    # Networks of keras.applications take no dtype, they are of the global policy's.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype or policy)
    try:
        return keras.applications.MobileNetV2(
            input_shape=input_shape,
            weights=None,
            classes=num_classes,
            classifier_activation=None,
            name="mobilenet_v2",
        )
    finally:
        keras.config.set_dtype_policy(policy)


def is_routed(model):
    """Whether a network routes each image to a resolution: a `DRNet`."""
    return isinstance(model, DRNet)
