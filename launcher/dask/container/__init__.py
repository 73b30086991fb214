"""Clusters as containers of podman or docker: one for each cluster, of its session's image and without a network."""
