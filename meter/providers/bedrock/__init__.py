"""The endpoints that Amazon defined: Bedrock's runtime."""
