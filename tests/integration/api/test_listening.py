"""The socket that is listened on."""

import asyncio
import socket

import pytest

from k2ctl.api.server import listen
from k2ctl.api.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_is_written_is_sent_at_once(host: str) -> None:
    async def accepted() -> int:
        options: asyncio.Queue[int] = asyncio.Queue()

        async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            options.put_nowait(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen(Settings(host=host, port=0)) as listening:
            async with await asyncio.start_server(look, sock=listening):
                _, client = await asyncio.open_connection(*listening.getsockname()[:2])
                found = await options.get()
                client.close()
                await client.wait_closed()
        return found

    assert asyncio.run(accepted())
