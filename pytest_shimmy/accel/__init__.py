"""Which GPU backends this machine has, with evidence.

`detector` asks; `probes` is the table of what is asked and `readers` what the answers mean;
`asking` puts one question, in bounded time; `result` is what comes out; `cuda_driver` is a
program of its own. `readback` tells what a running server uses; `requirement` judges a marker.
"""
