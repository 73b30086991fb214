"""The container runtime's builder: images on a base image, their steps in containers of an engine."""
