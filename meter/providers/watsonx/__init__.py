"""The endpoint that IBM watsonx defined, beside the one it shares with OpenAI."""
