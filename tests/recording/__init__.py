"""The recording in README; `python -m tests.recording` makes it again."""
