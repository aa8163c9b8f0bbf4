"""A running Triton server: finding one to start, starting and stopping it, and speaking to one over HTTP and gRPC."""
