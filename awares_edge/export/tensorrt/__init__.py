"""Export to TensorRT: strongly typed ONNX graphs and a build plan; engines are built on the target."""
