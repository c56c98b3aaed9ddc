"""HTTP as omniedit speaks it: a client with deadlines, URLs, redirects, ranges and retries."""
