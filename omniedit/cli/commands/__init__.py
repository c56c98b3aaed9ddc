"""The commands, a module each, named as it is typed."""
