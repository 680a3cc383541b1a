"""The endpoints that Google defined."""
