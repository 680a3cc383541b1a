"""The endpoints that Ollama defined, beside those it shares with OpenAI."""
