"""The endpoints that Mistral defined, beside those it shares with OpenAI."""
