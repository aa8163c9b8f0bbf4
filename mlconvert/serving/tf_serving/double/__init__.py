"""A double of tensorflow_model_server, where there is none: `python -m mlconvert.serving.tf_serving.double --port=…`.

It takes the real server's flags and answers as that does by its source: PredictionService and ModelService over
gRPC, the REST API, version policies, labels, warm-up requests, polling of files and configuration. A SavedModel is run
by the installed TensorFlow, through the session, the tag and the tensor names of its signature that the real server
uses; nothing of mlconvert's converters is loaded.

What differs: it listens on 127.0.0.1 alone; Classify, Regress and MultiInference are refused by name; with
`--enable_batching` requests are held to what batching asks of them, and run one by one; flags that it cannot honour are
refused.
"""
