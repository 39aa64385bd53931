"""One server process: port, start, proof of readiness, restarts, end.

`manager` is what callers hold, `life` what its thread does, `startup` one attempt to start;
`health` and `port_owner` prove that the answer comes from our own child. Works without pytest and
without sharing.
"""
