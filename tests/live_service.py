"""The service on a real port of this machine, for tests that speak HTTP as users do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from services.api.server import build_service
from services.api.settings import ServiceSettings
from services.cli.serve import bind_socket


@contextmanager
def serve(settings: ServiceSettings) -> Iterator[str]:
    """Serves in a thread; gives the address."""
    listener = bind_socket("127.0.0.1", 0)
    server = build_service(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def connect(settings: ServiceSettings) -> Iterator[httpx.Client]:
    """A client of a service that runs as long as the client is open."""
    with serve(settings) as address, httpx.Client(base_url=address, trust_env=False, timeout=60.0) as client:
        yield client
