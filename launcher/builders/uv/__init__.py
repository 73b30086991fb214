"""From a recipe to a finished virtual environment with uv: the pipeline that the runtimes share."""
