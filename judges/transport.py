"""The HTTP connection to an endpoint: its time-outs, and what it never sends."""

from typing import TYPE_CHECKING, Any

from judges.address import Address
from judges.base import JudgeError
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
        patience: Gives the time to connect in.
        transport: Takes the place of the network in tests.

    Raises:
        JudgeError: What the environment says of certificates or proxies cannot be used.
    """
    import httpx2

    from judges.bounded_http import BoundedClient

    settings: dict[str, Any] = {
        "base_url": address.url,
        # The deadline of a whole call is kept by `judges.calls`; only a connection has one of its own.
        "timeout": httpx2.Timeout(None, connect=min(patience.connect, patience.timeout)),
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        "transport": transport,
        "event_hooks": {"request": [] if address.is_openai else [_OnlyOwnHeaders(address)]},
    }
    if address.is_local:
        settings["mounts"] = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}
    try:
        return BoundedClient(**settings)
    except (OSError, ValueError, ImportError) as error:
        raise JudgeError(
            f"{address.url} cannot be reached ({type(error).__name__}: {str(error).splitlines()[0]}): correct or unset "
            "SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, HTTP_PROXY or ALL_PROXY"
        ) from None


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
