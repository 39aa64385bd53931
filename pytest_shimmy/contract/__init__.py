"""What shimmy does, as checks that run on any executable, and recordings of what real ones did.

Strategy: a *case* (`case`; the tables are in `cases`) says what to do to an executable, in one of
the *environments* (folders with models, variables, arguments). `observe` does it to a *subject* and
writes down what came back, without what legitimately varies (`normalise`). A *recording*
(`recordings`; in files, `recording_files`) holds the observations of one real executable. `verify`
compares a subject with a recording, and `differences` says what differs.
"""
