"""HTTP as this product speaks it: a client with deadlines, URLs, hosts, ranges, and when to retry."""
