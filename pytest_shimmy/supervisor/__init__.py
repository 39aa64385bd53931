"""One server process: port, start, proof of readiness, restarts, end.

`manager` has the states, `startup` one attempt to start; `health` and `port_owner` prove that the
answer comes from our own child. Works without pytest and without sharing.
"""
