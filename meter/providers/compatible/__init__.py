"""Endpoints that several providers serve in much the same way, and OpenAI does not."""
