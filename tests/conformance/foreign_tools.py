"""Tools and schemas that are not ours. There a missing one is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


STANDARDS = Path(os.environ.get("QERDS_STANDARDS", ROOT.parent / "shared" / "standards")) / "etsi-319-522-3"


ALL_SCHEMAS = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
<xs:import namespace="http://uri.etsi.org/19522/v1#" schemaLocation="1952203xmlSchema.xsd"/>
<xs:import namespace="http://uri.etsi.org/01903/v1.3.2#" schemaLocation="XAdES01903v132-201601.xsd"/>
<xs:import namespace="http://uri.etsi.org/02918/v1.2.1#" schemaLocation="en_31916201v010101.xsd"/>
</xs:schema>"""


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=15, check=False)
