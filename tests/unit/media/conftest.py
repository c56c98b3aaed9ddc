"""Skip the tests that need PyAV if it is not installed."""

import importlib.util

if importlib.util.find_spec("av") is None:
    collect_ignore_glob = ["test_[deps]*.py", "test_formats.py"]
