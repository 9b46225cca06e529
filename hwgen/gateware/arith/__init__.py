"""Arithmetic on codes: decoders, multipliers, adder trees, encoders and quantizers, each usable by itself."""
