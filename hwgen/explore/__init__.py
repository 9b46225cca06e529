"""Choosing among accelerators of one network."""
