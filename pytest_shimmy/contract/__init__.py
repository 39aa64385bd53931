"""What shimmy does, as checks that run on any executable, and recordings of what real ones did.

Strategy: a *case* (`cases`) says what to do to an executable, in one of the *worlds* (`worlds`:
folders with models, environment, arguments); `commands`, `lives`, `exchanges` and the rooms beside
them are tables of cases. `observe` does it to a *subject* and writes down what came back, without
what legitimately varies (`neutral`). A *recording* (`recordings`) holds the observations of one
real executable; `verify` compares a subject with a recording and says what differs.
"""
