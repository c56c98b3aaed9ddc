"""The use cases behind the commands, independent of how they are called and displayed."""
