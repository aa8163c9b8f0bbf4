"""A fitted scikit-learn estimator as one ONNX graph: a function per class, in double precision."""
