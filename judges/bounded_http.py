"""An HTTP client that reads no body to its end when that is not in sight; slow to import."""

from typing import Any

import httpx2

from judges.clients import BodyTooLargeError

LARGEST_BODY = 32 * 2**20
"""Bytes, unpacked. A reply of 8,000 tokens with 20 alternatives for each takes about half of it."""
_ABOUT_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class BoundedClient(httpx2.AsyncClient):
    """Every response has its whole body, of at most `LARGEST_BODY`.

    `send` is the one place that sees each body, those of errors too, as it is unpacked: hooks see it packed, and
    with a transport of our own the environment's proxies would not be used.
    """

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """Send a request and read what comes.

        Raises:
            BodyTooLargeError: It is more than any reply can be.
        """
        response = await super().send(request, **{**how, "stream": True})
        try:
            body = await _bounded(response)
        finally:
            await response.aclose()
        headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() not in _ABOUT_THE_BODY]
        return httpx2.Response(response.status_code, headers=headers, content=body, request=request)


async def _bounded(response: httpx2.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LARGEST_BODY:
            raise BodyTooLargeError(f"the body is larger than {LARGEST_BODY // 2**20} MiB")
        parts.append(part)
    return b"".join(parts)
