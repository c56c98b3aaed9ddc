"""Downloads: part files, transfers and atomic placement."""
