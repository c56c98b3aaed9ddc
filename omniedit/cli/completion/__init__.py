"""Completion in shells: what there is to complete, a script for each shell, the answer to TAB."""
