"""ONNX files and graphs: reading them safely, writing them whole, and what the passes share."""
