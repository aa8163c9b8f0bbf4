"""Parity: whether a converted model answers as its source does, and by how much it may differ."""
