"""The networks of a service as models of the protocol: what they are, and what they take."""

from __future__ import annotations

from typing import Any

from restora.backends import Session
from restora.errors import NotFoundError, UnknownModelError
from restora.serve.service import Service
from restora.serve.v2.bodies_held import HeldBodies
from restora.serve.v2.statistics import NetworkStatistics
from restora.serve.v2.tensors import MAX_BATCH, TensorSpec, input_of, output_of
from restora.version import __version__

VERSION = "1"  # of every network: one is open at a time
PLATFORM = "restora"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")


class NetworkTable:
    """The open networks, and what requests to them have cost.

    bodies: of requests that are in memory
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.bodies = HeldBodies()
        self._statistics: dict[str, NetworkStatistics] = {}

    def get(self, name: str, version: str = "") -> Session:
        """Raises UnknownModelError for a network that is not open, NotFoundError for another
        version than the only one, StartingError before the networks are open."""
        if self.service.state == "starting":
            self.service.require_ready()
        networks = self.service.models.networks()
        if name not in networks:
            raise UnknownModelError(
                f"the service has no network {name[:80]!r}; it has {', '.join(sorted(networks))}"
            )
        if version not in ("", VERSION):
            raise NotFoundError(f"{name} has the version {VERSION} only, got {version[:20]!r}")
        return networks[name]

    def is_ready(self, name: str, version: str = "") -> bool:
        self.get(name, version)
        return self.service.state == "ready"

    def statistics_of(self, name: str) -> NetworkStatistics:
        """Raises UnknownModelError for a network that is not open."""
        self.get(name)
        return self._statistics.setdefault(name, NetworkStatistics())

    def describe_server(self) -> dict[str, Any]:
        return {"name": "restora", "version": __version__, "extensions": list(EXTENSIONS)}

    def describe(self, name: str, version: str = "") -> dict[str, Any]:
        """Metadata of a network."""
        info = self.get(name, version).info
        return {
            "name": name,
            "versions": [VERSION],
            "platform": PLATFORM,
            "inputs": [_describe_tensor(input_of(info))],
            "outputs": [_describe_tensor(output_of(info))],
        }

    def config(self, name: str, version: str = "") -> dict[str, Any]:
        """The configuration that a Triton server would have, as far as it applies here. Requests
        share batches, so that clients may send many at once."""
        info = self.get(name, version).info
        return {
            "name": name,
            "platform": PLATFORM,
            "backend": PLATFORM,
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": MAX_BATCH,
            "input": [_configure_tensor(input_of(info))],
            "output": [_configure_tensor(output_of(info))],
            "dynamic_batching": {"max_queue_delay_microseconds": 0},
            "model_transaction_policy": {"decoupled": False},
        }

    def index(self, *, only_ready: bool = False) -> list[dict[str, Any]]:
        """All open networks."""
        state = "READY" if self.service.state == "ready" else "UNAVAILABLE"
        if only_ready and state != "READY":
            return []
        return [
            {"name": name, "version": VERSION, "state": state, "reason": ""}
            for name in self.service.models.networks()
        ]

    def count(self, name: str = "", version: str = "") -> dict[str, Any]:
        """Statistics of one network, or of all."""
        names = [name] if name else list(self.service.models.networks())
        rows = [
            self.statistics_of(one).as_row(one, VERSION, self.get(one, version)) for one in names
        ]
        return {"model_stats": rows}


def _describe_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _configure_tensor(spec: TensorSpec) -> dict[str, Any]:
    """Without the batch."""
    return {
        "name": spec.name,
        "data_type": f"TYPE_{spec.datatype}",
        "dims": list(spec.shape[1:]),
    }
