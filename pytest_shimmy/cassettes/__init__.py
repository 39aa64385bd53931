"""Recorded answers: a real server is recorded once, and replayed to the chunk and the millisecond.

`cassette` is a file, `folder` all of a suite's; `rules` says which requests are the same and what
is secret; `secrets` keeps that out; `merge` keeps what has not changed. `recorder` is the proxy
that records, with its own readers of HTTP and WebSockets; `drift` asks whether a server still
answers in the same shapes. The fake replays. Nothing here knows pytest.
"""
