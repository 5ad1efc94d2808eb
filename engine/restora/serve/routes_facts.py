"""Facts about the service: models, health, metrics, problems and the OpenAPI document."""

from __future__ import annotations

from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from restora.errors import DrainingError, NotFoundError
from restora.models import available_models
from restora.networks import OpenNetwork
from restora.serve.openapi import make_document
from restora.serve.parameters import SCHEMA
from restora.serve.problems import all_problems
from restora.serve.queue import DRAINING
from restora.serve.responses import json_response, make_route
from restora.serve.service import Service


def health_routes(service: Service) -> list[BaseRoute]:
    """Routes that need no token."""
    facts = _Facts(service)
    return [
        make_route("/health/live", GET=facts.live),
        make_route("/health/ready", GET=facts.ready),
        make_route("/problems/{code}", GET=facts.problem),
    ]


def fact_routes(service: Service) -> list[BaseRoute]:
    facts = _Facts(service)
    return [
        make_route("/v1/models", GET=facts.models),
        make_route("/metrics", GET=facts.metrics),
        make_route("/openapi.json", GET=facts.openapi),
    ]


class _Facts:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def live(self, request: Request) -> Response:
        """Whether the process is of use: it must be replaced when its GPU is lost."""
        del request
        if self._service.lost is not None:
            return json_response({"status": "lost", "detail": str(self._service.lost)}, 503)
        return json_response({"status": "live"})

    async def ready(self, request: Request) -> Response:
        del request
        state = self._service.state
        if state == "starting":
            raise self._service.starting_error()
        if state != "ready" or self._service.lost is not None:
            raise DrainingError(DRAINING)
        return json_response({"status": "ready"})

    async def problem(self, request: Request) -> Response:
        found = all_problems().get(request.path_params["code"])
        if found is None:
            raise NotFoundError("there is no such problem")
        return json_response(found)

    async def models(self, request: Request) -> Response:
        del request
        service = self._service
        service.require_ready()
        options = service.options
        return json_response(
            {
                "models": self._list_models(),
                "faces": service.models.has_faces,
                "parameters": SCHEMA,
                "limits": {
                    "max_pixels": options.limits.max_pixels,
                    "max_file_bytes": options.limits.max_file_bytes,
                    "max_output_pixels": options.restore.max_output_pixels,
                    "queue": options.queue,
                    "keep_s": options.keep_s,
                },
            }
        )

    async def metrics(self, request: Request) -> Response:
        del request
        data = generate_latest(self._service.metrics.registry)
        return Response(data, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def openapi(self, request: Request) -> Response:
        del request
        return json_response(make_document(self._service.options))

    def _list_models(self) -> list[dict[str, Any]]:
        pool = self._service.models
        networks: dict[str, OpenNetwork] = {}
        for restorer in pool.restorers:
            for network in restorer.networks:
                if network.info.kind in ("upsampler", "face"):
                    networks.setdefault(network.info.model, network)
        known = {model.name: model for model in available_models()}
        rows = []
        for name, network in networks.items():
            summary = known.get(name)
            rows.append(
                {
                    "name": name,
                    "kind": network.info.kind,
                    "scale": network.info.scale,
                    "license": None if summary is None else summary.license,
                    "terms": None if summary is None else summary.terms,
                    "purpose": None if summary is None else summary.purpose,
                    "loaded": True,
                    "default": name == pool.default,
                    "precision": network.precision,
                    "backend": network.backend,
                }
            )
        return rows
