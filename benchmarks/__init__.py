"""Benchmarks: each prints one JSON object on standard output and progress on standard error."""
