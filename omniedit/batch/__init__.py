"""Many edits from one manifest: read, planned, and run side by side."""
