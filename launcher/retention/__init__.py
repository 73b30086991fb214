"""What stays on the disk and what goes: environments, logs, caches, and builds that wait until there is room."""
