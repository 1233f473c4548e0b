"""This server described for programs, as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

import regraft
from regraft.server import protocol_v2
from regraft.server.limits import Limits, in_mib
from regraft.server.options import MOST_TOP, NO, YES

Schema = dict[str, Any]


def document(limits: Limits) -> Schema:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "regraft serve",
            "version": regraft.__version__,
            "description": "Labels of pictures by models that `regraft train` made. A request may "
            f"bring {limits.items} pictures, each of at most {in_mib(limits.picture_bytes)}.",
        },
        "paths": {**_own_paths(limits), **_v2_paths()},
        "components": {
            "schemas": _SCHEMAS,
            "responses": {"refused": _json("What was wrong, and the cure", _ref("refusal"))},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "What --token was"}
            },
        },
    }


def _own_paths(limits: Limits) -> Schema:
    return {
        "/": {"get": _get("page", "A page to drop pictures on", _content("text/html"))},
        "/page/{name}": {
            "get": _get(
                "page-file", "A file of the page", _content("*/*"), [_path("name")], ("404",)
            )
        },
        "/predict": {"post": _predict(limits)},
        "/models": {
            "get": _get("models", "The models that are served", _json("All", _ref("models")))
        },
        "/health": {
            "get": _get(
                "health", "Whether new requests are welcome", _json("They are", _ref("health")),
                more=("503",),
            )
        },
        "/metrics": {"get": _get("metrics", "Numbers for Prometheus", _content("text/plain"))},
        "/openapi.json": {
            "get": _get("openapi", "This description", _json("It", {"type": "object"}))
        },
    }  # fmt: skip


def _predict(limits: Limits) -> Schema:
    form = {
        "type": "object",
        "required": ["images"],
        "properties": {
            "images": {
                "type": "array",
                "minItems": 1,
                "maxItems": limits.items,
                "items": {"type": "string", "format": "binary"},
            }
        },
    }
    body = {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {"schema": form},
    }
    return {
        "operationId": "predict",
        "summary": "Labels of one picture or many",
        "description": "The body is a picture's file, or a form of files. Each has an answer in "
        "its place; one that cannot be read is an error of its own.",
        "parameters": [
            _query("model", "Which model, where several are served", {"type": "string"}),
            _query(
                "top", "Classes in each answer",
                {"type": "integer", "minimum": 1, "maximum": MOST_TOP, "default": 3},
            ),
            _query(
                "heatmap", "Where the model looked, as a PNG",
                _YES_OR_NO,
            ),
            *_levels(),
        ],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": _json("A row for each picture", _ref("predictions")),
            "422": _json("None of the pictures can be read", _ref("unread")),
            **_refusals("400", "404", "408", "413", "415", "503"),
        },
        **_ASKS_TOKEN,
    }  # fmt: skip


def _levels() -> list[Schema]:
    described = {
        "coverage": "Each answer has a set that holds the right class in so many cases: 0.95, 95%",
        "reject": "Up to so many of one's own images may be called none of these: 0.02, 2%",
        "precision": "Answers that stand alone are those of which so many are right: 0.99, 99%",
    }
    each = [_query(name, text, _LEVEL) for name, text in described.items()]
    per_class = _YES_OR_NO
    return [*each, _query("per_class", "Whether coverage is to hold in every class", per_class)]


def _v2_paths() -> Schema:
    found: Schema = {
        "/v2": {"get": _get("v2-server", "The server", _json("It", _ref("v2_server")))},
        "/v2/health/live": {
            "get": _get("v2-live", "Whether it lives", _json("It does", {"type": "object"}))
        },
        "/v2/health/ready": {
            "get": _get(
                "v2-ready", "Whether new requests are welcome",
                _json("They are", {"type": "object"}), more=("503",),
            )
        },
    }  # fmt: skip
    for tail, name, parameters in (
        ("", "v2-model", [_path("model")]),
        ("/versions/{version}", "v2-model-version", [_path("model"), _path("version")]),
    ):
        at = "/v2/models/{model}" + tail
        found[at] = {
            "get": _get(
                name, "What goes in and comes out", _json("It", _ref("v2_model")), parameters,
                ("404",),
            )
        }  # fmt: skip
        found[f"{at}/ready"] = {
            "get": _get(
                f"{name}-ready", "Whether the model answers", _json("It does", _ref("v2_ready")),
                parameters, ("404", "503"),
            )
        }  # fmt: skip
        found[f"{at}/infer"] = {"post": _infer(f"{name}-infer", parameters)}
    return found


def _infer(name: str, parameters: list[Schema]) -> Schema:
    binary = {"schema": {"type": "string", "format": "binary"}}
    answers = {
        "application/json": {"schema": _ref("v2_answer")},
        "application/octet-stream": binary,
    }
    return {
        "operationId": name,
        "summary": "Labels and probabilities of a tensor of files",
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("v2_request")}},
        },
        "responses": {
            "200": {"description": "Tensors", "content": answers},
            **_refusals("400", "404", "408", "413", "503"),
        },
        **_ASKS_TOKEN,
    }


def _get(
    name: str,
    summary: str,
    response: Schema,
    parameters: list[Schema] | None = None,
    more: tuple[str, ...] = (),
) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters or [],
        "responses": {"200": response, **_refusals(*more)},
        **_ASKS_TOKEN,
    }


def _refusals(*statuses: str) -> Schema:
    """Those of an operation, and those that any request may get at the door."""
    refused = {"$ref": "#/components/responses/refused"}
    return dict.fromkeys(sorted({*statuses, "401", "403", "421"}), refused)


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _content(kind: str) -> Schema:
    return {"description": "It", "content": {kind: {"schema": {"type": "string"}}}}


def _path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def _list(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


_ASKS_TOKEN: Schema = {"security": [{}, {"token": []}]}
_TEXT: Schema = {"type": "string"}
_LABEL: Schema = {"type": ["string", "null"]}
_WHOLE: Schema = {"type": "integer"}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_TOP: Schema = _list({"type": "array", "prefixItems": [_TEXT, _SHARE], "maxItems": 2})
_HEATMAP = _object({"label": _TEXT, "method": _TEXT, "png": {**_TEXT, "format": "byte"}})
_TENSOR = {"name": _TEXT, "datatype": _TEXT, "shape": _list(_WHOLE)}
_DATA: Schema = {"type": "array"}
_YES_OR_NO: Schema = {"type": "string", "enum": [*YES, *NO], "default": "0"}
_LEVEL: Schema = {"type": "string", "pattern": r"^(0?\.[0-9]*[1-9]|[1-9][0-9]?(\.[0-9]+)?%)$"}
# Of a tensor of files; that as many come as its shape says is more than a schema can.
_V2_IMAGE = _object(
    {
        "name": {"const": protocol_v2.INPUT},
        "datatype": {"const": "BYTES"},
        "shape": {**_list({"type": "integer", "minimum": 1}), "minItems": 1, "maxItems": 1},
    },
    {
        "data": _list({"type": "string", "contentEncoding": "base64"}),
        "parameters": {"type": "object"},
    },
)
_V2_WANTED = _object(
    {"name": {"enum": list(protocol_v2.OUTPUTS)}}, {"parameters": {"type": "object"}}
)
_SCHEMAS: Schema = {
    "refusal": _object({"error": _TEXT, "request_id": _TEXT}, {"cure": _TEXT}),
    "answer": _object(
        {"path": _TEXT, "label": _LABEL, "probability": _SHARE, "top": _TOP},
        {
            "set": _list(_TEXT),
            "typical": _SHARE,
            "none_of_these": {"type": "boolean"},
            "alone": {"type": "boolean"},
            "heatmap": _HEATMAP,
        },
    ),
    "rejected": _object({"path": _TEXT, "error": _TEXT, "mend": _TEXT}),
    "predictions": _object(
        {
            "model": _TEXT,
            "predictions": _list({"anyOf": [_ref("answer"), _ref("rejected")]}),
        },
        {"cautions": _list(_TEXT)},
    ),
    "unread": _object(
        {
            "error": _TEXT,
            "model": _TEXT,
            "predictions": _list(_ref("rejected")),
            "request_id": _TEXT,
        },
        {"cure": _TEXT},
    ),
    "health": _object({"status": _TEXT}),
    "models": _object({"models": _list(_ref("model")), "version": _TEXT}),
    "model": _object({"name": _TEXT, "classes": _list(_TEXT), "method": _TEXT, "backbone": _TEXT}),
    "v2_server": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
    "v2_ready": _object({"name": _TEXT, "ready": {"type": "boolean"}}),
    "v2_tensor": _object(_TENSOR),
    "v2_model": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_ref("v2_tensor")),
            "outputs": _list(_ref("v2_tensor")),
        }
    ),
    "v2_request": _object(
        {"inputs": {**_list(_V2_IMAGE), "minItems": 1, "maxItems": 1}},
        {"id": _TEXT, "outputs": _list(_V2_WANTED), "parameters": {"type": "object"}},
    ),
    "v2_answer": _object(
        {
            "model_name": _TEXT,
            "outputs": _list(_object(_TENSOR, {"data": _DATA, "parameters": {"type": "object"}})),
        },
        {"model_version": _TEXT, "id": _TEXT},
    ),
}
