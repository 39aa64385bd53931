"""An executable that cannot be told from shimmy on the command line and on the wire.

It runs no model and needs no GPU. See ``fake_shimmy.__main__`` for the entry point and
``fake_shimmy.releases`` for what it imitates.
"""

NEWEST = "2.6.5"
"""The newest release that is imitated, and the default. Here, because every run of pytest names it,
and few need the tables of `releases`."""
