"""A real OpenAI-compatible server, llama.cpp's own, on a port of this machine."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def llama_server(gguf: Path, *, context: int = 2048, parallel: int = 4, exact: bool = False) -> Iterator[str]:
    """Serve a GGUF file as the model `tiny`; yields the address that ends in /v1.

    `exact` keeps keys and values, and what is done with them, in float32; llama.cpp's usual is float16.
    """
    from xllamacpp import CommonParams, Server, ggml_type, llama_flash_attn_type

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
    if exact:
        params.cache_type_k = params.cache_type_v = ggml_type.GGML_TYPE_F32
        params.flash_attn_type = llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = Server(params)
    try:
        yield f"http://127.0.0.1:{params.port}/v1"
    finally:
        del server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
