"""Builders: one for each runtime, one protocol."""
