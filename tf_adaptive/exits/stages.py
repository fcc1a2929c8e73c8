"""Splits a multi-exit graph into stages that hand on only what later stages read."""

import collections
import copy
import itertools
import keyword
import math

import keras

from tf_adaptive.errors import InputError
from tf_adaptive.exits.outputs import exit_tensors
from tf_adaptive.graph.calls import (
    call_for_inference,
    calls_before,
    open_nested,
    run_calls,
)
from tf_adaptive.graph.constant_weights import ConstantWeights
from tf_adaptive.graph.final_activation import exits_as_logits
from tf_adaptive.graph.keras_internals import CONCATENATE, producer

# Operations that can leave another size than the batch's in the first axis, and name it None too.
_MOVES_ROWS = (
    "Moveaxis",
    "Ravel",
    "Repeat",
    "Reshape",
    "Swapaxes",
    "Tile",
    "Transpose",
)

_KNOWN_LAYERS = ("keras.", "tf_adaptive.")

# A batch that what puts samples together in twos, threes and fours can take.
_TRIED_BATCH = 12


class Stage:
    """What exit k needs beyond what the exits before it needed.

    Attributes:
        number: the stage's and its exit's place k, from 1.
        takes: names of the tensors the stage is given: the state of the stage before; for the
            first stage, the model's inputs.
        reads: those of `takes` that the stage computes with; the others it only passes on.
        writes: names of the state tensors the stage computes.
        state: what it hands on: dictionary of name to symbolic tensor, first axis the batch.
        model: functional model from the tensors of `reads` to `[logits, *writes]`.
    """

    def __init__(self, *, number, takes, reads, writes, state, model):
        self.number = number
        self.takes = tuple(takes)
        self.reads = tuple(reads)
        self.writes = tuple(writes)
        self.state = dict(state)
        self.model = model
        self._run = model

    def __call__(self, state):
        """Runs the stage.

        Args:
            state: dictionary of name to tensor, as the stage before returned it. The first stage
                takes what the model takes: images `(batch, height, width, channels)`, or the
                structure of several inputs.

        Returns:
            `(logits, state)`: logits `(batch, classes)` of this stage's exit, and the dictionary
            for the next stage (empty after the last); every tensor's first axis is the batch.

        Raises:
            InputError: a tensor that the stage reads or passes on is missing.
        """
        if self.number == 1 and not isinstance(state, dict):
            given = keras.tree.flatten(state)
            if len(given) != len(self.takes):
                raise InputError(
                    f"Stage 1 must be given the model's {len(self.takes)} inputs "
                    f"({', '.join(self.takes)}). Received: {len(given)}."
                )
            state = dict(zip(self.takes, given, strict=True))
        missing = [name for name in self.takes if name not in state]
        if missing:
            raise InputError(
                f"Stage {self.number} must be given the state of the stage before. "
                f"Missing: {missing[0]!r}. Received: {sorted(state)}."
            )
        # The last stage has one output, which Keras gives without a list around it.
        given = [keras.ops.convert_to_tensor(state[name]) for name in self.reads]
        logits, *written = keras.tree.flatten(self._run(given))
        available = {**state, **dict(zip(self.writes, written, strict=True))}
        return logits, {name: available[name] for name in self.state}

    def with_constant_weights(self):
        """The same stage with the weights that it has now as constants; see `ConstantWeights`."""
        stage = copy.copy(self)
        stage._run = ConstantWeights(self.model)
        return stage


def split_stages(model):
    """Splits a model with K exits into K stages: run one after another, they are the model.

    Stage k computes the ancestors of exit k that no exit before it needed, and nothing else. The
    state it hands on is what later stages read, no tensor of it twice: a concatenation whose parts
    are in the state as well is handed on as its parts and put together again where it is read.
    Layers are shared with `model`; nested models are opened up. A softmax or a sigmoid at the end
    of an exit is taken off, with a warning.

    Args:
        model: functional `keras.Model`; its outputs are a list of K logits
            `(batch, classes)`, the exits in order of cost; of one exit, with or without a list.

    Returns:
        List of K `Stage`.

    Raises:
        InputError: the outputs are no exits (see `exit_tensors`), an exit needs
            nothing beyond those before it, or a stage would hand on a tensor that has no batch
            axis.

    Example:
        >>> stages = ta.split_stages(model)
        >>> logits, state = stages[0](images)
        >>> logits, state = stages[1](state)
        >>> logits.shape[-1]
        10
    """
    exit_tensors(model)
    return stages_to_outputs(exits_as_logits(model))


def stages_to_outputs(model):
    """What `split_stages` gives, of outputs as they are, where their numbers do not matter.

    Args:
        model: as for `split_stages`.
    """
    exit_tensors(model)
    model = open_nested(model)
    exits = model.outputs
    calls = calls_by_stage(model)
    names = _without_keywords(tensor_names(model.inputs, calls))

    # Backwards: what a stage must be given is what it reads and what the next must be given.
    states = [[]]
    for number in range(len(exits), 0, -1):
        earlier = [*model.inputs, *_outputs(calls[: number - 1])]
        needed = _read_by([exits[number - 1], *states[0]], earlier)
        states.insert(0, _without_overlaps(needed, earlier) if number > 1 else list(model.inputs))

    _check_rows(model.inputs, states[1:], names)
    stages = []
    for number, (logits, before, after) in enumerate(
        zip(exits, states[:-1], states[1:], strict=True), start=1
    ):
        _check_batch_axis(after, names, number, batch=model.inputs[0].shape[0])
        passed_on = {id(tensor) for tensor in before}
        written = [tensor for tensor in after if id(tensor) not in passed_on]
        read = _read_by([logits, *written], before)
        stages.append(
            Stage(
                number=number,
                takes=[names[id(tensor)] for tensor in before],
                reads=[names[id(tensor)] for tensor in read],
                writes=[names[id(tensor)] for tensor in written],
                state={names[id(tensor)]: tensor for tensor in after},
                model=_sub_model(read, [logits, *written], names, f"stage_{number}"),
            )
        )
    return stages


def calls_by_stage(model):
    """The calls of each stage of a model without nested models.

    Returns:
        List of K lists of Keras nodes, each in an order that runs.

    Raises:
        InputError: an exit needs nothing beyond those before it.
    """
    computed = list(model.inputs)
    stages = []
    for number, logits in enumerate(model.outputs, start=1):
        calls = calls_before([logits], sources=computed)
        if not calls:
            raise InputError(
                "Every exit of `model` must need work that the exits before it do not: give the "
                f"outputs in order of cost, each once. Received: exit {number} needs none."
            )
        computed.extend(_outputs([calls]))
        stages.append(calls)
    return stages


def check_cheapest_first(model):
    """Refuses a model whose every exit is cheaper alone than the one before it.

    Args:
        model: as `split_stages` takes.
    """
    exits = open_nested(model).outputs
    alone = [_work(calls_before([logits])) for logits in exits]
    if len(exits) > 1 and all(after < before for before, after in itertools.pairwise(alone)):
        raise InputError(
            "Exits of `model` must be in order of cost, the cheapest first. "
            f"Received: {model.name!r} with the dearest first."
        )


def _work(calls):
    """About the multiply-accumulates of calls: kernels times the places they are used at."""
    return sum(
        math.prod(weight.shape) * math.prod(size or 1 for size in node.outputs[0].shape[1:-1])
        for node in calls
        if isinstance(node.operation, keras.Layer)
        for weight in node.operation.weights
        if len(weight.shape) > 1
    )


def _outputs(calls_of_stages):
    return [tensor for calls in calls_of_stages for node in calls for tensor in node.outputs]


def _read_by(targets, sources):
    """Those of `sources` that computing `targets` reads, or that are targets, in their order."""
    wanted = {id(tensor) for tensor in targets}
    for node in calls_before(targets, sources):
        wanted.update(map(id, node.input_tensors))
    return [tensor for tensor in sources if id(tensor) in wanted]


def _without_overlaps(tensors, earlier):
    """The same content with nothing twice: overlapping concatenations become their parts.

    In the order of `earlier`, all tensors that have been computed.
    """
    tensors = {id(tensor): tensor for tensor in tensors}
    while True:
        leaves = {key: _concatenated(tensor) for key, tensor in tensors.items()}
        times = collections.Counter(itertools.chain.from_iterable(leaves.values()))
        overlapping = [
            key
            for key, tensor in tensors.items()
            if _is_concatenation(tensor) and any(times[leaf] > 1 for leaf in leaves[key])
        ]
        if not overlapping:
            return [tensor for tensor in earlier if id(tensor) in tensors]
        largest = max(overlapping, key=lambda key: len(leaves[key]))
        parts = producer(tensors.pop(largest)).input_tensors
        tensors.update({id(part): part for part in parts})


def _is_concatenation(tensor):
    return isinstance(producer(tensor).operation, (keras.layers.Concatenate, CONCATENATE))


def _concatenated(tensor):
    """The `id`s of the tensors that a concatenation, also one of concatenations, is made of."""
    if not _is_concatenation(tensor):
        return [id(tensor)]
    return [leaf for part in producer(tensor).input_tensors for leaf in _concatenated(part)]


def tensor_names(inputs, calls):
    """Readable names, the same for the same graph: the layer's, numbered where it is not unique."""
    tensors = [*inputs, *_outputs(calls)]
    tensors_of = {}
    for tensor in tensors:
        tensors_of.setdefault(producer(tensor).operation.name, []).append(tensor)
    names = {}
    for name, (first, *others) in tensors_of.items():
        names[id(first)] = name
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        free = (other for other in numbered if other not in tensors_of)
        names.update(zip(map(id, others), free, strict=False))
    return names


def _without_keywords(names):
    """The same names, numbered where Python has a keyword: signatures name parameters by them."""
    taken = set(names.values())
    free = {}
    for name in filter(keyword.iskeyword, taken):
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        free[name] = next(other for other in numbered if other not in taken)
    return {key: free.get(name, name) for key, name in names.items()}


def _check_batch_axis(state, names, number, batch):
    for tensor in state:
        if len(tensor.shape) == 0 or tensor.shape[0] != batch:
            raise InputError(
                "Every tensor that a stage hands on must have the batch as its first axis. "
                f"Received: {names[id(tensor)]!r} of shape {tuple(tensor.shape)}, exit {number}."
            )


def _check_rows(inputs, states, names):
    """Refuses a state with a row for each window of a sample, whose shape says None as a batch's.

    Args:
        inputs: the model's.
        states: of each stage, what it hands on, as symbolic tensors.
        names: dictionary from `id` of a tensor to its name.
    """
    state = list({id(tensor): tensor for tensors in states for tensor in tensors}.values())
    calls = calls_before(state, inputs)
    if inputs[0].shape[0] is not None or not any(map(_may_move_rows, calls)):
        return
    tried = {
        id(tensor): keras.KerasTensor((_TRIED_BATCH, *tensor.shape[1:]), tensor.dtype)
        for tensor in inputs
    }
    try:
        run_calls(calls, tried, _output_spec)
    # What cannot be tried so is as well left to the run.
    except Exception:
        return
    for number, tensors in enumerate(states, start=1):
        for tensor in tensors:
            if tried[id(tensor)].shape[0] != _TRIED_BATCH:
                rows = tried[id(tensor)].shape[0]
                raise InputError(
                    "Every tensor that a stage hands on must have the batch as its first axis: put "
                    "windows back together before an exit. "
                    f"Received: {names[id(tensor)]!r} with {rows} rows of a batch of "
                    f"{_TRIED_BATCH}, exit {number}."
                )


def _output_spec(operation, args, kwargs):
    if _is_foreign(operation):
        # From what it computes: a shape that it states itself speaks of one sample.
        return keras.Operation.compute_output_spec(operation, *args, **kwargs)
    return operation.compute_output_spec(*args, **kwargs)


def _may_move_rows(node):
    """Whether a call may leave another size than the batch's in the first axis."""
    return _is_foreign(node.operation) or type(node.operation).__name__ in _MOVES_ROWS


def _is_foreign(operation):
    """Whether it is a layer whose code is the user's."""
    return isinstance(operation, keras.layers.Lambda) or (
        isinstance(operation, keras.Layer)
        and not type(operation).__module__.startswith(_KNOWN_LAYERS)
    )


def _sub_model(sources, targets, names, name):
    """A functional model from `sources` to `targets` that shares the layers between them."""
    # The suffix keeps an input apart from a layer of that name that is called again inside.
    inputs = [
        keras.Input(batch_shape=t.shape, dtype=t.dtype, name=f"{names[id(t)]}_given")
        for t in sources
    ]
    tensors = dict(zip(map(id, sources), inputs, strict=True))
    run_calls(calls_before(targets, sources), tensors, call_for_inference)
    return keras.Model(inputs, [tensors[id(target)] for target in targets], name=name)
