"""What a script does to a server: what is answered, what goes wrong, what is written down.

The `interceptor` is a layer around the application; an `exchange` takes one request through its
session; the `player` sends the steps of its answer. `life` is about the whole process.

Imports: api, models, rust, script, wire.
"""
