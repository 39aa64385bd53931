"""What goes over a connection, without sockets: HTTP/1, WebSocket frames, event streams, steps.

Imports: nothing.
"""
