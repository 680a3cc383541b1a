"""HTTP/1.1 as the gateway speaks it: lean, strict and bounded. Knows nothing of models."""
