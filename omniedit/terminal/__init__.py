"""What people and scripts get to see: streams, lines, documents, bars."""
