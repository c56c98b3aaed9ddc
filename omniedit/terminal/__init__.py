"""Output for people and scripts: streams, lines, documents, progress bars."""
