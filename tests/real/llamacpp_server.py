"""Serve the tiny model with llama.cpp's own server: python llamacpp_server.py PORT MODEL-FILE."""

from __future__ import annotations

import signal
import sys

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[2]
parameters.model_alias = {"tiny"}
parameters.port = int(sys.argv[1])
parameters.n_ctx = 8192
parameters.n_parallel = 4
parameters.use_jinja = True
parameters.warmup = False
parameters.cpuparams.n_threads = 2
server = xllamacpp.Server(parameters)
signal.pause()
