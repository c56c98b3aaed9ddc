"""HTTP as omniedit speaks it: a client with deadlines, URLs, redirects, ranges and retries."""

import sys
from typing import Any, cast

# Wherever click is installed, httpx takes its own command line along, and Rich with it; it does
# without where that cannot be imported (httpx/__init__.py).
sys.modules.setdefault("httpx._main", cast("Any", None))
