"""Conversations with memory, and OpenAI's forms of them."""
