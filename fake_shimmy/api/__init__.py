"""From a request to the steps of its answer: the routes, one module for each family."""
