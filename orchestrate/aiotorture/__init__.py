"""The orchestrator of aiotorture: kernels, guests, cells, oracles, reports."""
