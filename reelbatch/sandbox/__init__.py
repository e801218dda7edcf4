"""A local API that behaves like the vendor's: for demos, tests and benchmarks.

`with start(latency_ms=200) as sandbox:` runs it as a process of its own and gives its `url`, `key` and
`books()`.
"""

from collections.abc import Callable

from reelbatch.sandbox.config import SandboxConfig
from reelbatch.sandbox.process import RunningSandbox, start

__all__ = ["RunningSandbox", "SandboxConfig", "serve", "start"]


def serve(config: SandboxConfig, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve in this process until it is told to stop; `on_ready` is given the URL."""
    from reelbatch.sandbox.server import serve as serve_here  # the server's imports are heavy

    serve_here(config, on_ready)
