"""The only room with sockets: a loop, what accepts, connections, and a worker for long tasks.

Imports: api, rust, wire.
"""
