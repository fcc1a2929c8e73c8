"""The project's files, apart from what running it leaves beside them."""

import pathlib

REPOSITORY = pathlib.Path(__file__).parents[1]
FOLDERS = ("tf_adaptive", "trainers", "savedmodels", "benchmarks", "experiments", "tests", "docs")


def project_files():
    """Their paths from the project's folder, a set of texts."""
    paths = list(REPOSITORY.glob("[!.]*"))
    paths += [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*")]
    return {
        path.relative_to(REPOSITORY).as_posix()
        for path in paths
        if path.is_file() and path.suffix != ".pyc"
    }
