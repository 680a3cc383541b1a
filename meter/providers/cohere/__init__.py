"""The endpoints that Cohere defined."""
