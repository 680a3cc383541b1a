"""Count tokens offline: input from a request alone, output from what was delivered.

`encodings` builds tiktoken encodings from bundled ranks, `counting` counts text with them, and
`models` says which one serves a model. `estimates` picks the formulas of an endpoint: `chat`,
`responses`, `completions`, `embeddings`, `anthropic` and `gemini` read one family of requests
each. `prompt` counts what OpenAI's models are given, with `formats` (overheads of each family of
models), `schemas` (how functions are written) and `content`; `others` approximates other makers'
models. `images`, `audio`, `files` and `media` know media, `bounds` the most that a request can
have, `notes` what was assumed. `outputs` counts answers.

Importing this package loads no ranks and does not import tiktoken: the first count does.
"""
