"""README's recording; `python -m tests.recording` makes it again."""
