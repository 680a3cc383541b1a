"""The endpoints that Anthropic defined."""
