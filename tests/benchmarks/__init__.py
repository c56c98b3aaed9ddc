"""Benchmarks, most of them relative to a baseline in the same run, printed with their targets."""
