"""Benchmarks: the source and what became of it, each in a process of its own, measured in turns and compared.

`ways` says how each format is called in its natural runtime, `child` is the process of one contestant, `contest` lets
them take turns, and `statistics` says what can be said of the times.
"""
