"""Connections of our own, which no plugin of the user's patches, records, blocks or logs.

`sockets` are those of the system; `http` asks one question over one of them; `route` finds the way
to a server, and `remote` that through TLS and proxies. `questions` are those that we ask a shimmy;
`addresses` are host and port as URLs have them.
"""
