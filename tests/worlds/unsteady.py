"""A network that loses answers."""

import httpx


class Unsteady(httpx.AsyncBaseTransport):
    """A network that loses answers: the first request of each kind reaches the gateway, its answer never arrives."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._lost: set[tuple[str, str]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        kind = (request.method, request.url.path)
        if kind not in self._lost:
            self._lost.add(kind)
            await answer.aread()
            raise httpx.ReadError("lost", request=request)
        return answer
