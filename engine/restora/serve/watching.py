"""Notice that a client is gone while its request is worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from restora.errors import ClientGoneError
from restora.serve.tickets import Ticket


@asynccontextmanager
async def watching(request: Request, ticket: Ticket) -> AsyncIterator[None]:
    """Cancel the ticket if the client closes the connection. The body has been read."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        ticket.cancel(ClientGoneError("the client closed the connection"))

    task = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        task.cancel()
