"""Results on their way to the disk: part file, transfer, atomic placement."""
