"""The sandbox: a faithful local stand-in for the service, on loopback, with tasks kept on disk."""

from omniedit.sandbox.server import RunningSandbox, reset, serve
from omniedit.sandbox.store import RequestKeys

__all__ = ["RequestKeys", "RunningSandbox", "reset", "serve"]
