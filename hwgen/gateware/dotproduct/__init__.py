"""Dot products of codes in any pair of formats, of whole blocks with scales, and arrays of them."""
