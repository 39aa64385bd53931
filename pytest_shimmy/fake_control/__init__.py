"""Remote control of the bundled fake, and what it saw.

Speaks with a running fake over its control route; the vocabulary is `fake_shimmy.script`, which it
shares with the fake. Starts no process.
"""
