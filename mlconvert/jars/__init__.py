"""Models as jars: a class of Java with the model's numbers beside it, made without a JDK."""
