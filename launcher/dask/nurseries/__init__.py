"""Clusters whose first program is a nursery: what is the same wherever their sandboxes come from."""
