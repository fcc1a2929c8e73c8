"""Counts the answers of a server by the exit that images left at, for Prometheus.

A server does not know what an exit is; whoever asks it reads that from the answers.
"""

import numpy as np

from tf_adaptive.extras import lazily

prometheus_client = lazily("prometheus_client", extra="serving")


class AnswerCounts:
    """Images by exit or resolution, requests that were refused, and seconds.

    Of several threads and of several clients at once.

    Attributes:
        registry: the `prometheus_client.CollectorRegistry` of these counts, for
            `prometheus_client.start_http_server(9100, registry=counts.registry)`.
    """

    def __init__(self):
        self.registry = prometheus_client.CollectorRegistry()
        self._images = {
            name: prometheus_client.Counter(
                f"tf_adaptive_{prefix}answers",
                f"Images by the {name} that they were classified at.",
                ("model", name),
                registry=self.registry,
            )
            for name, prefix in (("exit", ""), ("resolution", "resolution_"))
        }
        self._refused = prometheus_client.Counter(
            "tf_adaptive_refused_requests",
            "Requests that were not answered.",
            ("model",),
            registry=self.registry,
        )
        self._seconds = prometheus_client.Histogram(
            "tf_adaptive_request_seconds",
            "Seconds until a request was answered, as the client saw it.",
            ("model",),
            registry=self.registry,
        )

    def answered(self, model, answer, *, seconds):
        """Counts the answer to a request.

        Args:
            model: the name that it is served by.
            answer: what `classify` of a client gives.
            seconds: that it took.
        """
        for name, counter in self._images.items():
            for place, images in zip(*np.unique_counts(answer.get(name, [])), strict=True):
                counter.labels(model, str(int(place))).inc(int(images))
        self._seconds.labels(model).observe(seconds)

    def refused(self, model):
        """Counts a request that was not answered."""
        self._refused.labels(model).inc()

    def text(self):
        """All counts, in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry).decode()
