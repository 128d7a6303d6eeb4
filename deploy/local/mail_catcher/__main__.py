"""python -m deploy.local.mail_catcher: an SMTP server that keeps every mail, and a page that shows them."""

import asyncio
import socket
import sys

import uvicorn

from deploy.local.layout import HOST
from deploy.local.mail_catcher.pages import application
from deploy.local.mail_catcher.relay import protocol
from deploy.local.mail_catcher.spool import Spool
from deploy.local.mail_catcher.waiting import Waiting
from pipeline.formats.configuration import load_from_environment
from pipeline.process import escapes
from pipeline.process.readiness import notify
from pipeline.process.recorder import Recorder

CONNECTIONS_WAITING_MAX = 256
STOP_SECONDS = 3


class Page(uvicorn.Server):
    """uvicorn, telling the supervisor when it serves, and those who wait for a mail when it stops."""

    def __init__(self, config: uvicorn.Config, waiting: Waiting) -> None:
        super().__init__(config)
        self._waiting = waiting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        notify("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        self._waiting.end()
        await super().shutdown(sockets)


async def serve() -> None:
    """Both servers in one loop, until SIGTERM or SIGINT (uvicorn's handlers)."""
    config = load_from_environment()
    if not config.embedded:
        raise SystemExit("mail catcher: for an embedded installation only; give [mail] a real relay")
    print("mail catcher: for demonstration; no mail leaves this machine", file=sys.stderr)
    spool = Spool(config.bridge.data_dir.parent / "mail")
    smtp = await asyncio.get_running_loop().create_server(
        lambda: protocol(spool), HOST, config.mail.port, backlog=CONNECTIONS_WAITING_MAX
    )
    page = uvicorn.Config(
        application(spool),
        host=HOST,
        port=config.mail.port - 1,  # layout.Ports: the page is one below the SMTP port
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        server_header=False,
    )
    async with smtp:
        await Page(page, spool.waiting).serve()


if __name__ == "__main__":
    escapes.watch(Recorder("mail"))
    asyncio.run(serve())
