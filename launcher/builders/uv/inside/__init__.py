"""Scripts that run inside a build's sandbox, with the environment's own Python: they import nothing of ours."""
