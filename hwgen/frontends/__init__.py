"""Importers: they bring a network in as a graph of real-valued operations and do nothing else."""
