"""Benchmarks: each beside a baseline in the same run, printed as ratios beside their targets."""
