"""Podman or docker: finding one, and what the container runtime asks of it.

`find` and `service` know where an engine is and start one of our own; `client` speaks to it; `base` has the words for
what is asked and answered; `labels` says what belongs to us; `base_image` makes the image that all others start from.
"""
