import io
import urllib.request

import numpy as np
import PIL.Image
import prometheus_client
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families

from savedmodels.answer_counts import AnswerCounts
from savedmodels.client import GrpcClient, RestClient
from tests.savedmodels.servers import Models, grpc_server, rest_server
from tf_adaptive.errors import InputError

ANSWERS = "tf_adaptive_answers_total"


@pytest.fixture(scope="module", params=["grpc", "rest"])
def connect(request, models):
    """A function from a model's name to a client of a server of the exported models."""
    server, client = {
        "grpc": (grpc_server, GrpcClient),
        "rest": (rest_server, RestClient),
    }[request.param]
    with server(models) as address:
        yield lambda model, **options: client(address, model, **options)


def images(batch=3):
    return np.random.default_rng(0).integers(0, 256, (batch, 24, 24, 1), np.uint8)


def assert_answers(actual, expected):
    assert set(actual) == set(expected)
    for name, tensor in expected.items():
        if name == "label":
            assert list(actual[name]) == [text.decode() for text in tensor.numpy()]
        else:
            np.testing.assert_allclose(actual[name], tensor, rtol=1e-6, atol=1e-7)
            assert actual[name].dtype == tensor.dtype.as_numpy_dtype


def test_classifies_arrays(connect, models):
    answer = connect("exits", version=1).classify(images())
    assert_answers(answer, models.signatures("exits", 1)["serving_default"](images=images()))
    assert set(answer) == {"class", "label", "probabilities", "confidence", "exit"}


def test_classifies_files(connect, models):
    picture = PIL.Image.fromarray(images()[0, ..., 0]).resize((40, 31)).convert("RGB")
    files = []
    for format in ("PNG", "JPEG"):
        file = io.BytesIO()
        picture.save(file, format)
        files.append(file.getvalue())
    expected = models.signatures("exits", 1)["serving_bytes"](encoded=tf.constant(files))
    assert_answers(connect("exits", version=1).classify(files), expected)


def test_thresholds_for_all_images_or_for_each(connect, models):
    client = connect("exits", version=1)
    everyone = client.classify(images(), thresholds=[1.0, 0.0, 1.0])
    np.testing.assert_array_equal(everyone["exit"], [2, 2, 2])
    each = client.classify(images(), thresholds=[[1, 1, 0], [0, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(each["exit"], [3, 1, 2])
    png = tf.io.encode_png(images()[0]).numpy()
    answer = client.classify([png, png], thresholds=[[1, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(answer["exit"], [2, 1])


def test_exits_that_are_off_for_a_request(connect, models):
    client = connect("exits", version=1)
    everyone = client.classify(images(), thresholds=[None, 0.0, 1.0])
    np.testing.assert_array_equal(everyone["exit"], [2, 2, 2])
    alone = client.classify(images(), enabled_exits=[])
    np.testing.assert_array_equal(alone["exit"], [4, 4, 4])
    expected = models.signatures("exits", 1)["serving_enabled_exits"](
        images=images(), enabled_exits=np.full((3, 1), 2, "int32")
    )
    assert_answers(client.classify(images(), enabled_exits=[2]), expected)
    with pytest.raises(InputError, match="One of `thresholds` and `enabled_exits`"):
        client.classify(images(), thresholds=[1, 1, 1], enabled_exits=[1])


def test_the_newest_version_is_asked_unless_another_is_named(connect, models):
    expected = models.signatures("exits", 2)["serving_default"](images=images())
    assert_answers(connect("exits").classify(images()), expected)


def test_any_signature(connect, models):
    expected = models.signatures("drnet")["classify_16"](images=images())
    actual = connect("drnet").call("classify_16", images=images())
    assert set(actual) == {"logits"}
    np.testing.assert_allclose(actual["logits"], expected["logits"], rtol=1e-6)


def test_a_drnet_names_the_resolution(connect, models):
    answer = connect("drnet").classify(images())
    assert_answers(answer, models.signatures("drnet")["serving_default"](images=images()))
    assert set(answer["resolution"]) <= {24, 16, 12}


def test_no_images(models):
    with grpc_server(models) as address, GrpcClient(address, "exits") as client:
        for nothing in ([], np.zeros((0, 24, 24, 1), np.uint8)):
            answer = client.classify(nothing)
            assert answer["probabilities"].shape == (0, 10)
            assert {len(value) for value in answer.values()} == {0}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            np.zeros((1, 24, 24, 3), np.uint8),
            r"Received from .*`images` must have 1 channels. Received: 3",
        ),
        ([b"no image"], "Every image must be a BMP, GIF, JPEG, PNG or WebP file"),
    ],
)
def test_what_the_server_refuses_is_one_line(connect, given, reason):
    with pytest.raises(InputError, match=reason) as refused:
        connect("exits", version=1).classify(given)
    assert not set("\n{}") & set(str(refused.value))


def test_thresholds_of_the_wrong_length(connect):
    with pytest.raises(InputError, match="must be one that the server answers"):
        connect("exits", version=1).classify(images(), thresholds=[0.5])


@pytest.mark.parametrize(
    ("model", "options"), [("other", {}), ("exits", {"version": 7})], ids=["model", "version"]
)
def test_what_is_not_served(connect, model, options):
    with pytest.raises(InputError, match="Servable not found"):
        connect(model, **options).classify(images())


@pytest.mark.parametrize(
    "given", [np.zeros((1, 24, 24, 1)), np.zeros((24, 24, 1), np.uint8), ["photo.jpg"]]
)
def test_images_that_are_neither_arrays_nor_files(connect, given):
    with pytest.raises(InputError, match=r"`images` must be uint8 \(batch, height, width"):
        connect("exits").classify(given)


@pytest.mark.parametrize("client", [GrpcClient, RestClient])
def test_no_server(client):
    with pytest.raises(
        InputError, match="that can be reached. Received from .*127.0.0.1:9.*: .*efused"
    ):
        client("127.0.0.1:9", "exits", timeout_seconds=2).classify(images())


def test_servers_of_one_address_are_asked_in_turns(models, served):
    others = Models(served)
    with (
        grpc_server(models) as one,
        grpc_server(others) as other,
        GrpcClient(f"ipv4:{one},{other}", "exits", version=1) as client,
    ):
        answers = [client.classify(images()) for _ in range(20)]
    # Another server's models are loaded when it is first asked.
    assert others.loaded
    for answer in answers:
        np.testing.assert_array_equal(answer["exit"], answers[0]["exit"])


def counted(text):
    """The samples of Prometheus's text format, by name, model and what else labels them."""
    return {
        (sample.name, sample.labels.pop("model"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_the_images_of_each_exit(connect):
    client = connect("exits", version=1)
    client.classify(images(), thresholds=[[1, 1, 0], [0, 1, 1], [1, 0, 0]])
    client.classify(images(2), thresholds=[0.0, 1.0, 1.0])
    with pytest.raises(InputError):
        client.classify([b"no image"])
    with pytest.raises(InputError):
        client.classify(images(), thresholds=[0.5])
    counts = counted(client.metrics())
    of_exits = {key[1:]: value for key, value in counts.items() if key[0] == ANSWERS}
    assert of_exits == {("exits", "1"): 3, ("exits", "2"): 1, ("exits", "3"): 1}
    assert counts["tf_adaptive_refused_requests_total", "exits"] == 2
    assert counts["tf_adaptive_request_seconds_count", "exits"] == 2
    assert 0 < counts["tf_adaptive_request_seconds_sum", "exits"] < 60
    assert 'tf_adaptive_answers_total{exit="1",model="exits"} 3.0\n' in client.metrics()


def test_clients_share_counts_that_prometheus_asks_for(connect):
    counts = AnswerCounts()
    exits, drnet = connect("exits", version=1, counts=counts), connect("drnet", counts=counts)
    exits.classify(images(), thresholds=[0.0, 0.0, 0.0])
    answer = drnet.classify(images())
    server, thread = prometheus_client.start_http_server(
        0, addr="127.0.0.1", registry=counts.registry
    )
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as response:
            found = counted(response.read().decode())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert found[ANSWERS, "exits", "1"] == 3
    for resolution, expected in zip(*np.unique_counts(answer["resolution"]), strict=True):
        key = ("tf_adaptive_resolution_answers_total", "drnet", str(resolution))
        assert found[key] == expected
