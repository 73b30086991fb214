"""Dockerfiles without a builder of the engine's: each step in a container of ours, with the limits of every build."""
