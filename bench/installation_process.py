"""`qerds up`, its mails going to the sink, its documents as large as may be.   python -m bench.installation_process ..

Owns     those two changes, in this process only. The product has no switch for the first: nobody should be able to lose
         mails by a word of a command line
"""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local import programs, settings, up
from deploy.local.layout import CHECKOUT, Layout, TcpPorts
from deploy.local.processes import Program
from deploy.local.softhsm import SoftToken
from pipeline.formats.configuration import DOCUMENT_BYTES_MAX

CATCHER = "mail_catcher"


def with_sink(environment: Mapping[str, str]) -> list[Program]:
    """The stand-ins, the catcher replaced."""
    others = [program for program in ORIGINAL(environment) if program.name != CATCHER]
    sink = Program(
        name="smtp_sink",
        command=(sys.executable, "-m", "bench.smtp_sink"),
        stop_group=programs.STOP_STAND_INS,
        drain_seconds=programs.DRAIN_SECONDS[programs.STOP_STAND_INS],
        environment=environment,
        directory=CHECKOUT,
        orphan_signal=signal.SIGKILL,
    )
    return [sink, *others]


def with_large_documents(layout: Layout, ports: TcpPorts, run_dir: Path, token: SoftToken) -> dict[str, settings.Value]:
    """The configuration, one value changed."""
    sections = SECTIONS(layout, ports, run_dir, token)
    gateway = sections["gateway"]
    if isinstance(gateway, Mapping):
        sections["gateway"] = {**gateway, "document_bytes_max": DOCUMENT_BYTES_MAX}
    return sections


ORIGINAL, SECTIONS = programs.stand_ins, settings.sections

if __name__ == "__main__":
    programs.stand_ins = with_sink
    settings.sections = with_large_documents
    sys.exit(up.main(sys.argv[1:]))
