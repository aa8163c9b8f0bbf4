"""Ensembles: models joined by edges into one, as a graph, as checks along its edges, and as a file."""
