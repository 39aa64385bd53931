"""One server per run: processes that want the same server find it, and it ends with the last.

`link` is what a test process holds; `keeper` is the process that holds the server; `janitor` puts a
killed keeper's things away; `run` tells when a run is over; `protocol` is what they say to each
other. Nothing here knows pytest, settings or how a server is chosen.
"""
