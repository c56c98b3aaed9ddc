"""Completion in shells: the model of the command line, a template a shell, the fast answer to TAB."""
