"""Triton's python backend: the `model.py` that mlconvert writes for it, and a stand-in to run one without a server."""
