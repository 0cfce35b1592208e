"""A real OpenAI-compatible server, llama.cpp's own, on a port of this machine."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def llama_server(gguf: Path, *, context: int = 2048, parallel: int = 4) -> Iterator[str]:
    """Serve a GGUF file as the model `tiny`; yields the address that ends in /v1."""
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path = str(gguf)
    params.hostnames = ["127.0.0.1"]
    params.port = _free_port()
    params.n_ctx = context * parallel
    params.n_parallel = parallel
    params.n_threads_http = 64
    params.cpuparams.n_threads = 1
    params.model_alias = {"tiny"}
    params.offline = True
    params.warmup = False
    server = Server(params)
    try:
        yield f"http://127.0.0.1:{params.port}/v1"
    finally:
        del server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
