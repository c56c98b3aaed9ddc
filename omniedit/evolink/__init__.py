"""EvoLink: its API, its file service, and what their replies mean."""
