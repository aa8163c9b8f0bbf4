"""Bundles: a run as one file in and one file out, for a machine that nothing else reaches."""
