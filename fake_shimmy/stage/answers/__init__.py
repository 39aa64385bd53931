"""Answers that no shimmy gives, as other OpenAI-compatible servers give them.

`beyond` picks the module for a route; each makes the whole body or the events of a stream from what
a rule says. Nothing here is imitated from shimmy: the formats are those of OpenAI and Anthropic.
"""
