"""The endpoints that Alibaba's DashScope defined, beside those it shares with OpenAI."""
