"""Measurements against peers in the same run. Start with ``benchmarks/run``; read ``benchmarks/README.md``."""
