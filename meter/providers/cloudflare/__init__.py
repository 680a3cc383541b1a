"""The endpoint that Cloudflare Workers AI defined, beside those it shares with OpenAI."""
