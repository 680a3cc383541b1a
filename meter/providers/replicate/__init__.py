"""The endpoint that Replicate defined."""
