"""The files of docs/serving: what they say of one another, and their probes."""

import http.server
import re
import subprocess
import threading

import PIL.Image
import pytest
import yaml

from savedmodels.serving.model_folder import new_version
from tests.savedmodels.servers import grpc_server
from tests.trainers.programs import REPOSITORY

FOLDER = REPOSITORY / "docs" / "serving"
# As `savedmodels.export` writes them, inside the container.
OF_THE_EXPORT = {"/models/models.config", "/models/batching_parameters.txt"}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def cluster():
    """What kubernetes.yaml declares, by its kind."""
    declared = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    return {each["kind"]: each for each in declared}


def files_of(flags):
    """The files that a server's flags name, by the names of the flags."""
    named = dict(flag.removeprefix("--").split("=") for flag in flags if "_file=" in flag)
    assert set(named) == {
        *("model_config_file", "batching_parameters_file", "monitoring_config_file")
    }
    assert "--enable_batching" in flags
    return named


def monitoring_path(text):
    """The path of a monitoring configuration, whose two fields are all that there are."""
    without = "".join(re.sub(r"#.*", "", text).split())
    return re.fullmatch(r'prometheus_config\{enable:truepath:"([\w/]+)"\}', without)[1]


def batching_parameters(text):
    """The numbers, by name, of lines that are each `name { value: number }`."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    matches = [re.fullmatch(r"(\w+) \{ value: (\d+) \}", line) for line in lines]
    return {match[1]: int(match[2]) for match in matches}


def test_the_client_of_the_guide(models, tmp_path, monkeypatch, capsys):
    snippet, _ = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs/serving.md").read_text(), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    PIL.Image.new("L", (30, 30)).save("photo.jpg")
    with grpc_server(models) as address:
        for written, here in (
            ("localhost:8500", address),
            ('"mine"', '"exits"'),
            ("start_http_server(9100,", 'start_http_server(0, "127.0.0.1",'),
        ):
            assert written in snippet
            snippet = snippet.replace(written, here)
        exec(snippet, {})
    assert re.search(
        r'^tf_adaptive_answers_total\{exit="[1-4]",model="exits"\} 1.0$',
        capsys.readouterr().out,
        re.MULTILINE,
    )


def test_the_compose_file(compose, tmp_path):
    serving = compose["serving"]
    mounted = [volume.rsplit(":", 2) for volume in serving["volumes"]]
    assert [(place, how) for _, place, how in mounted] == [
        ("/models", "ro"),
        ("/config/monitoring.config", "ro"),
    ]
    assert (FOLDER / mounted[1][0]).is_file()
    files = set(files_of(serving["command"]).values())
    assert files == {*OF_THE_EXPORT, "/config/monitoring.config"}
    with new_version(tmp_path / "served", "mine"):
        pass
    for file in OF_THE_EXPORT:
        assert (tmp_path / "served" / file.removeprefix("/models/")).is_file()
    # To this machine only.
    for service in compose.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_what_prometheus_asks(compose):
    jobs = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
    serving, client = jobs
    path = monitoring_path((FOLDER / "monitoring.config").read_text())
    assert serving["metrics_path"] == path
    (target,) = serving["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in compose and f"127.0.0.1:{port}:{port}" in compose[host]["ports"]
    assert client["static_configs"] == [{"targets": ["host.docker.internal:9100"]}]
    assert compose["prometheus"]["extra_hosts"] == ["host.docker.internal:host-gateway"]


@pytest.mark.parametrize(
    ("state", "status"), [("AVAILABLE", 0), ("LOADING", 1), (None, 1)], ids=str
)
def test_the_probe_of_the_compose_file(compose, state, status):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802, the base class's name
            assert self.path == "/v1/models/mine"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{\n "model_version_status": [\n  {\n   "state": "%s"' % state)

        def log_message(self, *_):
            pass

    # Where there is no state there is no server.
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = state and state.encode()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if state is None:
        server.shutdown()
        server.server_close()
    first, *arguments = compose["serving"]["healthcheck"]["test"]
    assert first == "CMD"
    command = [each.replace("$$", "$") for each in arguments]
    command[-1] = command[-1].replace("/8501", f"/{server.server_port}")
    finished = subprocess.run(
        command, env={"MODEL": "mine", "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    if state is not None:
        server.shutdown()
        server.server_close()
    assert finished.returncode == status


def test_the_cluster(cluster):
    assert set(cluster) == {"ConfigMap", "Deployment", "Service"}
    template = cluster["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for selector in (
        cluster["Service"]["spec"]["selector"],
        cluster["Deployment"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == template["metadata"]["labels"]
    assert [(port["port"], port["targetPort"]) for port in cluster["Service"]["spec"]["ports"]] == [
        (8500, "grpc"),
        (8501, "rest"),
    ]
    assert container["startupProbe"]["tcpSocket"] == {"port": "rest"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/v1/models/mine", "port": "rest"}
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}


def test_the_configuration_of_the_cluster(cluster, tmp_path):
    template = cluster["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    assert mounts == {"models": "/models", "config": "/config"} and set(volumes) == set(mounts)
    assert volumes["config"]["configMap"]["name"] == cluster["ConfigMap"]["metadata"]["name"]
    data = cluster["ConfigMap"]["data"]
    files = files_of(container["args"])
    assert files.pop("model_config_file") in OF_THE_EXPORT
    assert set(files.values()) == {f"/config/{name}" for name in data}
    path = monitoring_path(data["monitoring.config"])
    assert template["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8501",
        "prometheus.io/path": path,
    }
    with new_version(tmp_path / "served", "mine"):
        pass
    exported = batching_parameters((tmp_path / "served/batching_parameters.txt").read_text())
    ours = batching_parameters(data["batching_parameters.txt"])
    assert {**ours, "num_batch_threads": 2} == exported
    assert ours["num_batch_threads"] == int(container["resources"]["requests"]["cpu"])
