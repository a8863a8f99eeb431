"""Benchmarks: ``python -m benchmarks NAME [--json] [options]``."""
