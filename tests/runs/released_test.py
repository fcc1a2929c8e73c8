import contextlib
import functools
import http.server
import json
import re
import shutil
import threading

import numpy as np
import pytest

import tf_adaptive as ta
from tests.trainers.programs import files
from tf_adaptive.data.checked_files import CACHE_VARIABLE
from tf_adaptive.files import sha256_of
from tf_adaptive.runs.released import INDEX_FILE, WEIGHTS_VARIABLE


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, and no folder of weights named."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def own(release, tmp_path):
    """A copy of the released networks, to be changed."""
    return shutil.copytree(release, tmp_path / "own")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """The address of a folder."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def assert_as_the_run(released, run_dir):
    """It answers as the run does, to the bit."""
    run = ta.load_run(run_dir)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 30, 30, 1), "uint8")
    ours, expected = (each.executor()(each.preprocess(pictures)) for each in (released, run))
    assert set(ours) == set(expected)
    for key in ours:
        np.testing.assert_array_equal(ours[key], expected[key])
    assert released.description() == run.description()


@pytest.mark.parametrize("name", ["msdnet_digits", "drnet_digits"])
def test_by_folder(name, release, finished_run, finished_drnet, cache, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(release))
    run = ta.load_weights(name)
    assert run.run_dir.parent == cache
    assert_as_the_run(run, finished_drnet if run.routes else finished_run)
    if not run.routes:
        ours, expected = run.operating_point(), ta.load_run(finished_run).operating_point()
        assert ours.description() == expected.description()


def test_by_address_and_then_without_a_network(release, finished_run, cache):
    with served(release) as address:
        assert_as_the_run(ta.load_weights("msdnet_digits", address), finished_run)
    before = files(cache)
    # The server is gone.
    assert_as_the_run(ta.load_weights("msdnet_digits", address), finished_run)
    with pytest.raises(ta.InputError, match="within reach.* no answer from http.*drnet_digits.zip"):
        ta.load_weights("drnet_digits", address)
    assert files(cache) == before


def test_an_address_where_nothing_is(release, tmp_path, cache):
    (tmp_path / "empty").mkdir()
    with served(tmp_path / "empty") as address, pytest.raises(ta.InputError, match="Missing: http"):
        ta.load_weights("msdnet_digits", address)
    for nowhere in (address, "http://[", "http://"):
        with pytest.raises(ta.InputError, match=re.escape(f"no answer from {nowhere.rstrip('/')}")):
            ta.load_weights("msdnet_digits", nowhere)
    assert files(cache) == {}


def test_what_is_unpacked_is_found_again(own, cache, finished_run):
    first = ta.load_weights("msdnet_digits", own)
    (own / "msdnet_digits.zip").unlink()
    again = ta.load_weights("msdnet_digits", own)
    assert again.run_dir == first.run_dir
    # A damaged one cannot be unpacked again without its file.
    (first.run_dir / "model.keras").write_bytes(b"damaged")
    with pytest.raises(ta.InputError, match="Missing: .*msdnet_digits.zip"):
        ta.load_weights("msdnet_digits", own)


def test_what_was_damaged_since_is_unpacked_again(own, finished_run):
    first = ta.load_weights("msdnet_digits", own)
    (first.run_dir / "model.keras").write_bytes(b"damaged")
    assert_as_the_run(ta.load_weights("msdnet_digits", own), finished_run)


def another_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def less(path):
    path.write_bytes(path.read_bytes()[:-10])


def more(path):
    path.write_bytes(path.read_bytes() + bytes(100_000))


def no_zip_file(path):
    path.write_bytes(b"none")
    index = {"msdnet_digits": {"bytes": 4, "sha256": sha256_of(path)}}
    (path.parent / INDEX_FILE).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another_byte, "must be the one that weights.json names.* whose SHA-256 is another"),
        (less, "must be whole.* bytes, where .* were written"),
        (more, "must be whole.* bytes, where .* were written"),
        (no_zip_file, "must be a zip file"),
    ],
)
@pytest.mark.parametrize("by_address", [False, True])
def test_damaged_files_are_refused(change, words, by_address, own, cache):
    change(own / "msdnet_digits.zip")
    there = served(own) if by_address else contextlib.nullcontext(own)
    with there as where, pytest.raises(ta.InputError, match=words):
        ta.load_weights("msdnet_digits", where)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_names_and_places_are_refused(release, tmp_path, monkeypatch):
    with pytest.raises(ta.InputError, match="`TF_ADAPTIVE_WEIGHTS` must name .* neither"):
        ta.load_weights("msdnet_digits")
    with pytest.raises(ta.InputError, match="Did you mean 'msdnet_digits'"):
        ta.load_weights("msdnet_digit", release)
    with pytest.raises(ta.InputError, match=f"Missing: {tmp_path / 'none'}/weights.json"):
        ta.load_weights("msdnet_digits", tmp_path / "none")
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ta.InputError, match="`TF_ADAPTIVE_CACHE` names another place"):
        ta.load_weights("msdnet_digits", release)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"msdnet_digits": {"bytes": 1}}'),
        '{"msdnet_digits": {"bytes": 1, "sha256": "../../../etc"}}',
    ],
)
def test_another_index_is_refused(text, tmp_path):
    (tmp_path / INDEX_FILE).write_text(text)
    with pytest.raises(ta.InputError, match="weights.json of released networks must be as"):
        ta.load_weights("msdnet_digits", tmp_path)
