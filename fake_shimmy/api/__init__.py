"""From a request to the steps of its answer, as the imitated release gives them.

`application` puts a release's `layers` around the `routes`; each family of routes is a module whose
handlers get a `context`. Nothing here knows of scripts or of sockets: what follows a script is one
more layer, put around the application by who starts it.

Imports: machines, models, releases, rust, serde, wire.
"""
