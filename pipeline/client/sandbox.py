"""What only a sandbox answers, typed."""

from pipeline.client.wire import Wire, json_of


class SandboxCalls(Wire):
    """/v1/sandbox."""

    async def advance_clock(self, period: str) -> str:
        """Moves the clock of the whole installation forward (P16D, PT1H); the new time of the law, RFC 3339.

        Asked once, because a second time would move it again: after Unreachable it may have moved.
        """
        body = {"advance": period}
        answer = json_of(await self.call("POST", "/v1/sandbox/clock", json=body, repeats=False))
        return str(answer["legal_time"])
