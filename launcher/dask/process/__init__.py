"""Clusters as processes of this machine: one bubblewrap sandbox for each, made like the session's own."""
