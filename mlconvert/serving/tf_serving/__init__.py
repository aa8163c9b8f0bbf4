"""TensorFlow Serving: its messages, the clients for both of its protocols, and a double of the server for tests."""
