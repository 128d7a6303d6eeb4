"""python -m deploy.local.mail_catcher: an SMTP server that keeps every mail, and a page that shows them."""

import asyncio
import socket
import sys
from functools import partial

import anyio
import uvicorn

from deploy.local.layout import HOST, Layout
from deploy.local.mail_catcher.pages import application
from deploy.local.mail_catcher.relay import protocol
from deploy.local.mail_catcher.spool import Spool
from pipeline.formats.configuration import Config, load_from_environment
from pipeline.formats.secret_file import read_secret
from pipeline.process import life, serving
from pipeline.process.life import Life

CONNECTIONS_WAITING_MAX = 256
FINISH_SECONDS = 3
DRAIN_SECONDS = 4.0  # the supervisor waits 5


async def work(config: Config, own: Life) -> None:
    """Both servers in one loop. Those who wait for a mail are told when it drains."""
    layout = Layout(config.bridge.data_dir.parent)
    spool = Spool(layout.mail)
    smtp = await asyncio.get_running_loop().create_server(
        lambda: protocol(spool), HOST, config.mail.port, backlog=CONNECTIONS_WAITING_MAX
    )
    page = uvicorn.Config(
        application(spool, read_secret(layout.mail_key)),
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=FINISH_SECONDS,
        server_header=False,
    )
    listener = socket.create_server((HOST, config.mail.port - 1))  # deploy.local.layout.TcpPorts: one below SMTP

    async def end_waiting() -> None:
        await own.draining.wait()
        spool.waiting.end()

    async with smtp, anyio.create_task_group() as tasks:
        tasks.start_soon(end_waiting)
        await serving.serve(page, listener, own.draining, own.ready)
        tasks.cancel_scope.cancel()


def main() -> int:
    """The exit status."""
    config = load_from_environment()
    if not config.embedded:
        raise SystemExit("mail catcher: for an embedded installation only; give [mail] a real relay")
    print("mail catcher: for demonstration; no mail leaves this machine", file=sys.stderr)
    return life.run("mail_catcher", partial(work, config), DRAIN_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
