"""Dropscope's library: dropout techniques, data, training, runs and what is computed from them; no screen in it."""
