"""A network as a folder of TFLite files, and how well they agree with it."""

import dataclasses
import functools
import shutil
from collections.abc import Callable

from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.compression.quantization import is_quantized
from tf_adaptive.data.calibration import read_calibration_images
from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.operating_point import check_no_operating_point
from tf_adaptive.exits.outputs import with_exits
from tf_adaptive.exits.stages import split_stages
from tf_adaptive.reports.files import put_in_place
from tf_adaptive.routing.dispatch import Routing
from tf_adaptive.runs.run import Run

from ..description import FILES_FIELD, check_described, described_files, write_description
from ..output_folder import folder_replaced_whole
from . import run as run_file
from .agreement import (
    LEAST_AGREEMENT_PERCENT,
    agreement_of_exits,
    agreement_of_resolutions,
    check_agreement,
    check_batches,
)
from .exit_signatures import stage_parts, stage_samples, stage_signatures
from .files import PRECISIONS, write_files
from .folder import (
    AGREEMENT_FILE,
    RUN_FILE,
    batch_name,
    check_output,
)
from .load_runner import load_runner
from .resolution_signatures import (
    branch_parts,
    predictor_part,
    resolution_samples,
    resolution_signatures,
)

_TEST_IMAGES = 1000


def convert_model(
    executor,
    dataset,
    output,
    *,
    precision="float32",
    single_file=False,
    test_images=None,
    least_agreement=None,
    calibration_images=100,
    batch_sizes=(1,),
):
    """Converts a network as it is used to TFLite, whole or not at all.

    Args:
        executor: `EarlyExit` or `Routing`.
        dataset: `ImageDataset` of what the network was trained on.
        output, precision, single_file, test_images, least_agreement, calibration_images,
            batch_sizes: see `convert_run`.

    Returns:
        The rows of `agreement.csv`, see `convert_run`.

    Raises:
        InputError: see `convert_run`.

    Example:
        >>> fast = ta.EarlyExit(model, [0.9, 0.8, 0.7])
        >>> rows = savedmodels.convert_model(fast, data, "tflite", test_images=20)
        >>> [row["exit"] for row in rows]
        [1, 2, 3, 4]
    """
    least_agreement = _check_arguments(output, precision, least_agreement, calibration_images)
    batch_sizes = _checked_sizes(batch_sizes)
    model = executor.model
    if isinstance(executor, Routing):
        _check_one_image(batch_sizes)
        network = _resolutions(model, shared_weights=single_file)
        num_classes = model.branches[0].outputs[0].shape[-1]
    else:
        _check_ranges(model, precision)
        network = _exits(model, executor.point, batch_sizes)
        num_classes = model.outputs[0].shape[-1]
    return _convert(
        network,
        model,
        check_described(dataset.description(), num_classes),
        dataset,
        output,
        precision=precision,
        single_file=single_file,
        test_images=test_images,
        least_agreement=least_agreement,
        calibration_images=calibration_images,
        batch_sizes=batch_sizes,
    )


def convert_run(
    run_dir,
    output,
    *,
    precision="float32",
    single_file=False,
    test_images=None,
    least_agreement=None,
    calibration_images=100,
    batch_sizes=(1,),
    data_dir=None,
    **choice,
):
    """Converts a finished run to TFLite, whole or not at all.

    Args:
        run_dir: directory of a finished run; of a network with exits, one with a report.
        output: the folder: new, empty, or one that this function wrote, which is replaced. It gets
            the .tflite files, `description.json`, `agreement.csv` and `run.py`, which classifies
            pictures by NumPy, LiteRT and Pillow alone.
        precision, single_file: see `savedmodels.tflite.files.write_files`.
        test_images: how many test images to compare on; None for 1,000, or all of fewer.
        least_agreement: percent of them on which both must say the same; None for
            `LEAST_AGREEMENT_PERCENT` of the precision.
        calibration_images: how many training images the ranges of "int8" are measured on; not
            looked at for a run of `trainers.train_quantized`, which has ranges.
        batch_sizes: of a network with exits, images in the batches that `BatchRunner` can run; one
            image always is.
        data_dir: where TFDS keeps data sets; None for where the run had them.
        **choice: see `Run.operating_point`.

    Returns:
        The rows of `agreement.csv`: see `agreement_of_exits` and `agreement_of_resolutions`, and
        "file" and "file_bytes", the file and size of the exit's stage, of the branch, or of the
        predictor.

    Raises:
        InputError: an argument that is out of range, another precision than "int8" for a run of
            `trainers.train_quantized`, an unfinished run or one without a report,
            thresholds that do not fit, an `output` with something else in it, a network that TFLite
            cannot hold, or one whose conversion agrees on fewer images.
    """
    least_agreement = _check_arguments(output, precision, least_agreement, calibration_images)
    batch_sizes = _checked_sizes(batch_sizes)
    run = Run(run_dir)
    if run.routes:
        check_no_operating_point(**choice)
        _check_one_image(batch_sizes)
        network = _resolutions(run.model, shared_weights=single_file)
    else:
        _check_ranges(run.model, precision)
        point = run.operating_point(**choice)
        network = _exits(run.model, point, batch_sizes)
    return _convert(
        network,
        run.model,
        run.description(data_dir=data_dir),
        run.dataset(data_dir=data_dir),
        output,
        precision=precision,
        single_file=single_file,
        test_images=test_images,
        least_agreement=least_agreement,
        calibration_images=calibration_images,
        batch_sizes=batch_sizes,
    )


def _check_arguments(output, precision, least_agreement, calibration_images):
    """Refuses what can be refused before anything is loaded; gives the least agreement."""
    check_choice("precision", precision, PRECISIONS)
    check_whole("calibration_images", calibration_images, least=1)
    if least_agreement is None:
        least_agreement = LEAST_AGREEMENT_PERCENT[precision]
    if not 0 <= least_agreement <= 100:
        raise InputError(
            "`least_agreement` must be from 0 to 100 percent. "
            f"Received: least_agreement={least_agreement}."
        )
    check_output(output)
    return least_agreement


def _checked_sizes(batch_sizes):
    """The batch sizes in order, one image among them."""
    for size in batch_sizes:
        check_whole("batch_sizes", size, least=1)
    return sorted({1, *batch_sizes})


def _check_one_image(batch_sizes):
    if len(batch_sizes) > 1:
        raise InputError(
            "`batch_sizes` must be left out for a DRNet, which is converted for one image at a "
            f"time. Received: batch_sizes={batch_sizes}."
        )


def _check_ranges(model, precision):
    """Refuses another precision for a network that has the ranges of 8 bits."""
    if is_quantized(model) and precision != "int8":
        raise InputError(
            "`precision` must be int8 for a run of trainers.train_quantized, whose network "
            f"computes with 8 bits. Received: precision={precision!r}."
        )


def _convert(
    network,
    model,
    data,
    dataset,
    output,
    *,
    precision,
    single_file,
    test_images,
    least_agreement,
    calibration_images,
    batch_sizes,
):
    """Converts what `convert_run` and `convert_model` name.

    Args:
        network: `_Network`.
        model: whose answers it must agree with.
        data: what `describe_data` gives.
        dataset: `ImageDataset`.
    """
    size = dataset.sizes["test"]
    if test_images is None:
        test_images = min(_TEST_IMAGES, size)
    check_whole("test_images", test_images, least=1, most=size)
    samples = None
    if precision == "int8" and not network.has_ranges:
        samples = network.samples(read_calibration_images(dataset, calibration_images))
    with folder_replaced_whole(output, check=check_output) as folder:
        files = write_files(
            folder,
            network.signatures,
            precision=precision,
            samples=samples,
            single_file=single_file,
            batches={
                batch_name(part["signature"], size): (part["signature"], size)
                for part in network.parts
                for size in batch_sizes
            },
        )
        parts = [{**part, "file": files[part["signature"]]} for part in network.parts]
        described = {FILES_FIELD: described_files(folder, files.values())}
        write_description(
            folder,
            {
                **{"precision": precision, "batch_sizes": list(batch_sizes)},
                **{**network.description(parts), **described, **data},
            },
        )
        if len(batch_sizes) > 1:
            check_batches(folder, dataset, batch_sizes)
        agreement = network.agreement(load_runner(folder), model, dataset, images=test_images)
        sizes = {file: (folder / file).stat().st_size for file in files.values()}
        table = [
            {**row, "file": part["file"], "file_bytes": sizes[part["file"]]}
            for row, part in zip(agreement, parts, strict=True)
        ]
        put_in_place(folder, {AGREEMENT_FILE: table}, {})
        shutil.copyfile(run_file.__file__, folder / RUN_FILE)
        check_agreement(table, precision=precision, least_percent=least_agreement)
    return table


@dataclasses.dataclass(frozen=True)
class _Network:
    """What conversion must know of a network with exits, or of a DRNet.

    Attributes:
        signatures: dictionary from name to `tf.function`.
        samples: from normalised images to what `write_files` takes as `samples`.
        parts: what the runner must know of each signature, in the order of the agreement's rows.
        description: from these, with their files, to what `description.json` holds.
        agreement: `agreement_of_exits` or `agreement_of_resolutions`.
        has_ranges: whether it has the ranges of 8 bits already.
    """

    signatures: dict
    samples: Callable
    parts: list
    description: Callable
    agreement: Callable
    has_ranges: bool = False


def _exits(model, point, batch_sizes):
    numbers = point.enabled_exits
    # TFLite has no bfloat16.
    stages = split_stages(with_exits(fold_batch_norm(model, dtype="float32"), numbers))
    costs = {"exit_macs": [cost.macs for cost in profile(model)]}
    return _Network(
        signatures=_of_all_sizes(functools.partial(stage_signatures, stages), batch_sizes),
        samples=lambda images: _of_all_sizes(
            functools.partial(stage_samples, stages, images), batch_sizes
        ),
        parts=stage_parts(stages),
        description=lambda parts: {"stages": parts, **point.description(), **costs},
        agreement=functools.partial(agreement_of_exits, numbers=numbers),
        has_ranges=is_quantized(model),
    )


def _of_all_sizes(make, batch_sizes):
    """What a function makes by name for each batch size, together."""
    return {name: made for size in batch_sizes for name, made in make(batch_size=size).items()}


def _resolutions(model, *, shared_weights):
    signatures = resolution_signatures(model, shared_weights=shared_weights)
    return _Network(
        signatures=signatures,
        samples=functools.partial(resolution_samples, signatures),
        parts=[*branch_parts(model), predictor_part()],
        description=lambda parts: {"branches": parts[:-1], "predictor": parts[-1]},
        agreement=agreement_of_resolutions,
    )
