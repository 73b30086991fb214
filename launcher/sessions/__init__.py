"""Sessions: from a click to a running server."""
