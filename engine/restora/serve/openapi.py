"""The OpenAPI document of the service."""

from __future__ import annotations

from typing import Any

from restora.serve.accept import MEDIA_TYPES
from restora.serve.jobs import MOST_ROWS
from restora.serve.options import ServeOptions
from restora.serve.parameters import SCHEMA
from restora.serve.problems import CONTENT_TYPE, all_problems
from restora.version import __version__

Json = dict[str, Any]

_STRING: Json = {"type": "string"}
_INTEGER: Json = {"type": "integer"}
_NUMBER: Json = {"type": "number"}
_BOOLEAN: Json = {"type": "boolean"}


def make_document(options: ServeOptions) -> Json:
    """OpenAPI 3.1."""
    paths = {**_photo_paths(), **_fact_paths()}
    if options.roots:
        paths |= _job_paths()
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "restora",
            "version": __version__,
            "description": "Restores and enlarges photos, and the faces in them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": {"Problem": _content("An error", CONTENT_TYPE, _ref("Problem"))},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    if options.tokens is not None:
        document["security"] = [{"token": []}]
    return document


def _photo_paths() -> Json:
    picture = {"type": "string", "contentMediaType": "image/*"}
    form = _object({"photo": picture, "parameters": _object(SCHEMA), **SCHEMA}, required=["photo"])
    body = {
        "required": True,
        "content": {
            "image/*": {"schema": {}},
            "application/octet-stream": {"schema": {}},
            "multipart/form-data": {"schema": form},
        },
    }
    made: Json = {
        "description": "The restored photo; or facts and a link to it, for Accept: "
        "application/json",
        "headers": {
            name: {"schema": _STRING, "description": text}
            for name, text in (
                ("X-Request-Id", "The id of the request."),
                ("X-Restora-Model", "The network."),
                ("X-Restora-Precision", "Of its arithmetic."),
                ("X-Restora-Faces-Found", "Faces that were found."),
                ("X-Restora-Faces-Restored", "Faces that were restored."),
                ("Server-Timing", "Milliseconds in the queue and in each stage."),
            )
        },
        "content": {
            **{media_type: {"schema": {}} for media_type in MEDIA_TYPES.values()},
            "application/json": {"schema": _ref("Restored")},
        },
    }
    restore = {
        "operationId": "restore",
        "summary": "Restore one photo.",
        "parameters": [
            *({"name": name, "in": "query", "schema": schema} for name, schema in SCHEMA.items()),
            _header("X-Restora-Deadline", _NUMBER, "Seconds within which the result is wanted."),
            _header("X-Request-Id", _STRING, "An id for the request: letters, digits, . _ -"),
        ],
        "requestBody": body,
        "responses": {"200": made, "default": _problem()},
    }
    return {
        "/v1/restore": {"post": restore},
        "/v1/progress/{request_id}": {
            "get": _operation("progress", "Follow a request by its id.", _events(), ["request_id"])
        },
        "/v1/results/{id}": {
            "get": _operation("result", "A result that is kept.", _bytes(), ["id"]),
            "delete": _operation("removeResult", "Remove it.", _empty(), ["id"], status="204"),
        },
    }


def _fact_paths() -> Json:
    text = _content("Metrics of Prometheus", "text/plain", _STRING)
    return {
        "/v1/models": {"get": _operation("models", "The open models.", _json("Models"))},
        "/health/live": {"get": _open(_operation("live", "Alive.", _json("Status")))},
        "/health/ready": {"get": _open(_operation("ready", "Ready.", _json("Status")))},
        "/metrics": {"get": _operation("metrics", "Metrics.", text)},
        "/openapi.json": {
            "get": _operation("openapi", "This.", _content("This", "application/json", {}))
        },
        "/problems/{code}": {
            "get": _open(_operation("problem", "What a code means.", _json("Meaning"), ["code"]))
        },
    }


def _job_paths() -> Json:
    add = _operation("addJob", "Restore a folder or a video.", _json("Job"), status="201")
    add["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": _ref("JobRequest")}},
    }
    one = "/v1/jobs/{id}"
    results = _operation("jobResults", "Its results, page by page.", _json("Rows"), ["id"])
    results["parameters"] += [
        {"name": "from", "in": "query", "schema": {"type": "integer", "minimum": 0}},
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_ROWS},
        },
    ]
    return {
        "/v1/jobs": {
            "post": add,
            "get": _operation("jobs", "All jobs of this token.", _json("Jobs")),
        },
        one: {
            "get": _operation("job", "One job.", _json("Job"), ["id"]),
            "delete": _operation(
                "endJob", "Cancel a job (202), or forget one that has ended (204).", _json("Job"),
                ["id"], status="202",
            ),
        },
        f"{one}/results": {"get": results},
        f"{one}/files/{{number}}": {
            "get": _operation("jobFile", "One result.", _bytes(), ["id", "number"])
        },
        f"{one}/events": {"get": _operation("jobEvents", "Follow it.", _events(), ["id"])},
    }  # fmt: skip


def _schemas() -> Json:
    faces = _object(
        {
            "model": _STRING, "found": _INTEGER, "restored": _INTEGER, "skipped": _INTEGER,
            "failed": _INTEGER, "error": _nullable("string"),
            "list": _array(_object({
                "box": {"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4,
                        "description": "left, top, right, bottom in pixels of the input"},
                "score": _NUMBER,
                "status": {"enum": ["restored", "skipped", "failed"]},
                "reason": _STRING,
            })),
        }
    )  # fmt: skip
    size = {"width": _INTEGER, "height": _INTEGER, "format": _STRING, "bytes": _INTEGER}
    link = {"href": _STRING, "type": _STRING, "bytes": _INTEGER,
            "expires": {"type": "string", "format": "date-time"}}  # fmt: skip
    progress = dict.fromkeys(("done", "failed", "skipped"), _INTEGER)
    request = {
        "kind": {"enum": ["folder", "video"]},
        "input": {"type": "string", "description": "ROOT/relative/path"},
        "output": {"type": "string", "description": "ROOT/relative/path"},
        "parameters": {"type": "object"},
    }
    return {
        "Problem": _object(
            {
                "type": {"type": "string", "format": "uri-reference"}, "title": _STRING,
                "status": _INTEGER, "detail": _STRING,
                "code": {"enum": sorted(all_problems())}, "request_id": _STRING,
                "retry_after": {"type": "integer", "description": "seconds"},
            },
            required=["type", "title", "status", "detail", "code", "request_id"],
        ),
        "Meaning": _object(
            {"code": _STRING, "status": _INTEGER, "title": _STRING, "meaning": _STRING}
        ),
        "Status": _object({"status": _STRING}, required=["status"]),
        "Restored": _object(
            {
                "id": _STRING, "model": _STRING, "precision": _STRING, "backend": _STRING,
                "scale": _NUMBER, "input": _object({**size, "bits": _INTEGER}),
                "output": _object(size), "faces": {"oneOf": [faces, {"type": "null"}]},
                "seconds": {"type": "object", "additionalProperties": _NUMBER},
                "result": _object(link),
            },
            required=["id", "model", "input", "output", "faces", "seconds", "result"],
        ),
        "Models": _object(
            {
                "models": _array(_object({"name": _STRING, "kind": _STRING, "scale": _INTEGER,
                                          "default": _BOOLEAN, "loaded": _BOOLEAN,
                                          "precision": _STRING, "backend": _STRING})),
                "faces": _BOOLEAN, "parameters": {"type": "object"}, "limits": {"type": "object"},
            },
            required=["models", "faces", "parameters", "limits"],
        ),
        "JobRequest": _object(request, required=["kind", "input", "output"]),
        "Job": _object(
            {
                "id": _STRING, **request,
                "state": {"enum": ["queued", "running", "done", "failed", "canceled"]},
                "created": _STRING, "started": _nullable("string"), "ended": _nullable("string"),
                "resumed": _INTEGER,
                "progress": _object({**progress, "total": _nullable("integer"),
                                     "fraction": _NUMBER}),
                "problem": {"oneOf": [_ref("Problem"), {"type": "null"}]},
            },
            required=["id", "kind", "input", "output", "state", "progress", "problem"],
        ),
        "Jobs": _object({"jobs": _array(_ref("Job"))}, required=["jobs"]),
        "Rows": _object(
            {"results": _array({"type": "object"}), "next": _STRING}, required=["results"]
        ),
    }  # fmt: skip


def _operation(
    name: str, summary: str, answer: Json, path: list[str] | None = None, *, status: str = "200"
) -> Json:
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "responses": {status: answer, "default": _problem()},
    }
    if path:
        operation["parameters"] = [
            {"name": one, "in": "path", "required": True, "schema": _STRING} for one in path
        ]
    return operation


def _open(operation: Json) -> Json:
    """Without a token."""
    return {**operation, "security": []}


def _problem() -> Json:
    return {"$ref": "#/components/responses/Problem"}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> Json:
    return _content(name, "application/json", _ref(name))


def _content(description: str, media_type: str, schema: Json) -> Json:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _bytes() -> Json:
    return _content("The file", "application/octet-stream", {})


def _events() -> Json:
    return _content("Server-sent events", "text/event-stream", _STRING)


def _empty() -> Json:
    return {"description": "Done"}


def _header(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "header", "schema": schema, "description": description}


def _object(properties: Json, *, required: list[str] | None = None) -> Json:
    found: Json = {"type": "object", "properties": properties}
    return found if required is None else {**found, "required": required}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _nullable(kind: str) -> Json:
    return {"type": [kind, "null"]}
