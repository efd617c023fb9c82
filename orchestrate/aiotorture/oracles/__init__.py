"""Oracles that judge on the host."""
