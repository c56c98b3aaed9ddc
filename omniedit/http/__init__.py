"""HTTP: a client with deadlines, and rules for URLs, redirects, ranges and replies."""

import sys
from typing import Any, cast

# If click is installed, httpx imports its own command line, and Rich with it; it works without if
# that import fails (httpx/__init__.py).
sys.modules.setdefault("httpx._main", cast("Any", None))
