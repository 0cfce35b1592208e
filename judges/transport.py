"""The HTTP connection to an endpoint: its time-outs, and what it never sends."""

from typing import TYPE_CHECKING

from judges.address import Address
from judges.calls import Patience

if TYPE_CHECKING:
    import httpx2

_OWN_HEADERS = frozenset(
    {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
        "content-type",
        "content-length",
        # The official client reads this one back from the request to know that we want the body as it is.
        "x-stainless-raw-response",
    }
)


def connect(
    address: Address, patience: Patience, transport: "httpx2.AsyncBaseTransport | None" = None
) -> "httpx2.AsyncClient":
    """An HTTP client for one endpoint.

    It follows no redirects, since they would carry a prompt to an address that nobody named, and uses no proxy
    for this machine's own servers.

    Args:
        address: The endpoint.
        patience: Gives the time-outs; the deadline of a whole call is kept elsewhere.
        transport: Takes the place of the network in tests.
    """
    import httpx2

    return httpx2.AsyncClient(
        base_url=address.url,
        timeout=httpx2.Timeout(patience.timeout, connect=min(patience.connect, patience.timeout)),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        transport=transport,
        mounts={"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None} if address.is_local else None,
        event_hooks={"request": [] if address.is_openai else [_OnlyOwnHeaders(address)]},
    )


class _OnlyOwnHeaders:
    """Keeps what belongs to OpenAI's account from every other address.

    The official client adds headers from OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS, which may
    hold an authorisation, to whatever it sends, wherever it sends it.
    """

    def __init__(self, address: Address) -> None:
        self._address = address

    async def __call__(self, request: "httpx2.Request") -> None:
        for name in set(request.headers):
            if name.lower() not in _OWN_HEADERS:
                del request.headers[name]
        if self._address.key is not None:
            request.headers["Authorization"] = f"Bearer {self._address.key}"


def describe(error: BaseException) -> str:
    """What went wrong with a connection, in a few words."""
    cause = error.__cause__ or error.__context__
    text = str(cause) if cause is not None and str(cause) else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
