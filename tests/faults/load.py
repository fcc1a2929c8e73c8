"""An exported model asked by many threads at once, for a long time."""

import concurrent.futures
import pathlib
import time

import numpy as np
import tensorflow as tf

_REQUESTS = 200
_MOST_PICTURES = 16
_SIDES = (1, 300)


def ask_in_threads(version, *, seconds, threads, seed, shown=iter):
    """Asks an exported model in threads, and compares every answer with that of one thread.

    Requests are 1 to 16 pictures of 1 to 300 pixels a side, half of them with thresholds of their
    own.

    Args:
        version: folder of an exported network with exits, OUTPUT/NAME/VERSION.
        seconds: how long.
        threads: how many threads ask at a time.
        seed: what the requests are drawn from.
        shown: function of an iterable of seconds passed, which may show how far it is.

    Returns:
        Dictionary: "requests", "pictures", and "memory", the process's memory in the last quarter
        of the time by that in the second one.

    Raises:
        AssertionError: an answer that is another.
    """
    served = tf.saved_model.load(str(version))
    draw = np.random.default_rng(seed)
    given = served.signatures["serving_bytes_thresholds"].structured_input_signature[1]
    requests = [_request(draw, given["thresholds"].shape[-1]) for _ in range(_REQUESTS)]
    answers = [_ask(served, request) for request in requests]
    begun = time.monotonic()
    until = begun + seconds

    def ask_on(thread):
        own = np.random.default_rng((seed, thread))
        asked = pictures = 0
        while time.monotonic() < until:
            number = int(own.integers(_REQUESTS))
            _check(_ask(served, requests[number]), answers[number], number)
            asked += 1
            pictures += len(requests[number]["encoded"])
        return asked, pictures

    memory = []
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(ask_on, thread) for thread in range(threads)]
        for _ in shown(range(int(seconds))):
            memory.append((time.monotonic() - begun, _resident_bytes()))
            if any(future.done() for future in running):
                break
            time.sleep(1)
        asked, pictures = np.sum([future.result() for future in running], axis=0).tolist()
    quarters = [
        np.mean([size for at, size in memory if first <= 4 * at / seconds < first + 1])
        for first in (1, 3)
    ]
    return {"requests": asked, "pictures": pictures, "memory": float(quarters[1] / quarters[0])}


def _request(draw, num_thresholds):
    files = []
    for _ in range(draw.integers(1, _MOST_PICTURES + 1)):
        shape = (*draw.integers(*_SIDES, size=2, endpoint=True), draw.choice([1, 3]))
        picture = tf.constant(draw.integers(256, size=shape).astype("uint8"))
        encode = tf.io.encode_jpeg if draw.integers(2) else tf.io.encode_png
        # Long strips are refused, by the picture's sides.
        if max(shape[:2]) <= 8 * min(shape[:2]):
            files.append(encode(picture).numpy())
    files = files or [tf.io.encode_png(tf.zeros((9, 9, 1), tf.uint8)).numpy()]
    request = {"encoded": tf.constant(files)}
    if draw.integers(2):
        thresholds = draw.uniform(0.1, 0.9, size=(len(files), num_thresholds))
        request["thresholds"] = tf.constant(thresholds, tf.float32)
    return request


def _ask(served, request):
    name = "serving_bytes_thresholds" if "thresholds" in request else "serving_bytes"
    answer = served.signatures[name](**request)
    return {name: tensor.numpy() for name, tensor in answer.items()}


def _check(answer, expected, number):
    assert answer.keys() == expected.keys()
    for name, array in expected.items():
        if array.dtype.kind == "f":
            # The order of sums may differ with the threads that are free.
            assert np.allclose(answer[name], array, atol=1e-5), (number, name)
        else:
            assert np.array_equal(answer[name], array), (number, name)


def _resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return 4096 * pages
