"""ONNX lowered to core TensorFlow operations: what a stock TensorFlow Serving runs, without a line of C++.

`operators` is the table from ONNX operators to the functions that lower them, which lie in `families`, one module a
family. `lowering` walks a graph and calls them, `layouts` keeps images channels-last between convolutions, `weights`
holds what is constant, and `saving` writes the SavedModel. Only `families` and these import TensorFlow, and only the
functions of converters and runners import them.
"""
