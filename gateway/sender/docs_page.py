"""/docs: the API on one static page, without script, font or image from anywhere.

Owns     turning the OpenAPI description into HTML, once at start
Elsewhere: the description's content (schemas/api)
"""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from typing import Any

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#161616}"
    "code,pre{font:14px/1.45 ui-monospace,monospace}pre{background:#f5f5f5;padding:.75rem;overflow-x:auto}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #ccc;padding:.3rem .5rem;text-align:left;"
    "vertical-align:top}h2{margin-top:2.5rem;border-bottom:1px solid #ccc}"
)


def docs_page(api: Mapping[str, Any], provider: str) -> tuple[str, str]:
    """The page, and the base64 SHA-256 of its style for the content security policy."""
    operations = [
        (method.upper(), path, about)
        for path, methods in api["paths"].items()
        for method, about in methods.items()
        if method != "parameters"
    ]
    contents = "".join(
        f'<li><a href="#{_anchor(m, p)}"><code>{m} {escape(p)}</code></a></li>' for m, p, _ in operations
    )
    sections = "".join(_operation(method, path, about, api) for method, path, about in operations)
    title = escape(f"{provider}: {api['info']['title']}")
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n'
        f"{_paragraphs(api['info']['description'])}"
        '<p>Machine-readable: <a href="/v1/openapi.json">/v1/openapi.json</a> (OpenAPI 3.1)</p>\n'
        f"<ul>{contents}</ul>\n{sections}<h2>Objects</h2>\n{_schemas(api)}</body></html>\n"
    )
    return page, b64encode(sha256(STYLE.encode()).digest()).decode()


def _operation(method: str, path: str, about: Mapping[str, Any], api: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td>"
        f"<td>{escape(p['in'])}{'' if p.get('required') else ', optional'}</td>"
        f"<td>{escape(p.get('description', ''))}</td></tr>"
        for p in (_resolved(parameter, api) for parameter in about.get("parameters", []))
    )
    table = f"<table><tr><th>parameter</th><th>in</th><th></th></tr>{rows}</table>" if rows else ""
    bodies = ", ".join(about.get("requestBody", {}).get("content", {}))
    body = f"<p>Body: <code>{escape(bodies)}</code></p>" if bodies else ""
    answers = "".join(
        f"<tr><td>{status}</td><td>{escape(_resolved(answer, api)['description'])}</td></tr>"
        for status, answer in about["responses"].items()
    )
    return (
        f'<h2 id="{_anchor(method, path)}"><code>{method} {escape(path)}</code></h2>'
        f"<p><b>{escape(about['summary'])}</b></p>"
        f"{_paragraphs(about.get('description', ''))}{table}{body}"
        f"<table><tr><th>answer</th><th></th></tr>{answers}</table>\n"
    )


def _schemas(api: Mapping[str, Any]) -> str:
    return "".join(
        f'<h3 id="{name}">{name}</h3>{_paragraphs(about.get("description", ""))}{_properties(about)}'
        for name, about in api["components"]["schemas"].items()
    )


def _properties(about: Mapping[str, Any]) -> str:
    required = about.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_type(p))}{'' if name in required else ', optional'}</td>"
        f"<td>{escape(p.get('description', ''))}</td></tr>"
        for name, p in about.get("properties", {}).items()
    )
    return f"<table><tr><th>field</th><th>type</th><th></th></tr>{rows}</table>" if rows else ""


def _type(about: Mapping[str, Any]) -> str:
    if "$ref" in about:
        return str(about["$ref"]).rpartition("/")[2]
    if "enum" in about:
        return " | ".join(map(str, about["enum"]))
    if about.get("type") == "array":
        return f"list of {_type(about['items'])}"
    if "oneOf" in about:
        return " or ".join(map(_type, about["oneOf"]))
    kind = about.get("type", "any")
    return kind if isinstance(kind, str) else " or ".join(kind)


def _resolved(about: Mapping[str, Any], api: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follows a reference inside the description."""
    if "$ref" not in about:
        return about
    part: Any = api
    for step in str(about["$ref"]).removeprefix("#/").split("/"):
        part = part[step]
    return _resolved(part, api)


def _anchor(method: str, path: str) -> str:
    return f"{method}{path}".lower().replace("/", "-").replace("{", "").replace("}", "")


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>\n" for part in text.split("\n\n") if part)
