"""The endpoint of Hugging Face's text generation server, also behind SageMaker."""
