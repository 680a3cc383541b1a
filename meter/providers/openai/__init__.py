"""The endpoints that OpenAI defined and that most other providers serve as well."""
