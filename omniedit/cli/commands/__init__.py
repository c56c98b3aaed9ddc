"""The commands, each in a module named as the command is typed."""
