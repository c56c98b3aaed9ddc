"""The use cases: what a command does, whoever asks and however it is shown."""
