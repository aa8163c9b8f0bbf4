"""Exact tree ensembles: one neutral model in arrays, a reader for each library, the ONNX writer, boundary rows."""
