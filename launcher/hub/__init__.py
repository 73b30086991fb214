"""What runs inside JupyterHub's own process: preset, spawner, redirect hook. Light imports only."""
