"""Metrics: the health of a run in the form that Prometheus reads."""

import threading
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pychip_stream.errors import PychipError
from pychip_stream.operation.health import TROUBLED, RunHealth

ADDRESS = "127.0.0.1"


class Exporter:
    """Serves the newest values on http://127.0.0.1:PORT/metrics."""

    def __init__(self, health: RunHealth, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(HealthCollector(health))
        try:
            self._server, self._thread = start_http_server(port, ADDRESS, registry)
        except OSError as error:
            raise PychipError(
                f"health.prometheus: port {port} cannot be had ({error.strerror}); choose another"
            ) from error
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        if isinstance(self._thread, threading.Thread):
            self._thread.join(2.0)


class HealthCollector(Collector):
    """Turns what is known of a run into metrics when it is asked."""

    def __init__(self, health: RunHealth) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """Give every metric with its present value."""
        health = self._health
        up = GaugeMetricFamily("pychip_up", "1 while a service is well", labels=["instance"])
        counters = GaugeMetricFamily(
            "pychip_counter", "counters of the services", labels=["instance", "name"]
        )
        for instance in health.instances:
            up.add_metric([instance], float(health.state(instance) not in TROUBLED))
            for name, value in health.counters(instance).items():
                if not name.startswith("latency."):
                    counters.add_metric([instance, name], value)
        frames = GaugeMetricFamily("pychip_frames", "frames of the run", labels=["what"])
        for name in ("seen", "archived", "behind", "failed"):
            frames.add_metric([name], health.counter(name))
        latency = GaugeMetricFamily(
            "pychip_latency_seconds", "time before each stage", labels=["stage", "quantile"]
        )
        for stage, values in health.latency().items():
            for which, value in values.items():
                latency.add_metric([stage, f"0.{which[1:]}"], value)
        fractions = GaugeMetricFamily(
            "pychip_fraction", "phase fractions of the newest frame", labels=["class"]
        )
        for name, value in list(health.fractions.items()):
            fractions.add_metric([name], value)
        measured = GaugeMetricFamily(
            "pychip_quantity", "quantities of the newest frames", labels=["quantity"]
        )
        for name, value in health.measured.items():
            measured.add_metric([name], value)
        alerts = GaugeMetricFamily("pychip_alert", "1 while a rule fires", labels=["rule", "level"])
        for name, alert in sorted(health.alerts.items()):
            alerts.add_metric([name, alert.level], float(alert.state == "on"))
        rate = GaugeMetricFamily("pychip_frames_per_second", "archived over the last seconds")
        rate.add_metric([], health.rate)
        return [up, counters, frames, latency, fractions, measured, alerts, rate]
