"""One skeleton of the text and vision graphs, in the dialects of ONNX Runtime and TensorRT."""
