"""The description of the API, from its one file.

Owns     reading schemas/openapi.yaml and putting this installation's address into it
Rules    the file is YAML in its JSON spelling (YAML 1.2 contains JSON), so that no YAML parser is needed at run time
         tests/unit/gateway_sender/test_service.py keeps it equal to the routes and the problem codes
"""

import json
from pathlib import Path
from typing import Any

FILE_ADDRESS = "https://registered.example"
SANDBOX = "/v1/sandbox/"  # described where it exists


def description(schema: Path, public_url: str, *, is_sandbox: bool) -> dict[str, Any]:
    """OpenAPI 3.1, with this installation's address in place of the one in the file, and with what it has."""
    text = schema.read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text.replace(FILE_ADDRESS, public_url))
    if not is_sandbox:
        found["paths"] = {path: what for path, what in found["paths"].items() if not path.startswith(SANDBOX)}
    return found
