"""Minifloats of 8 bits and fewer: the published ones, and others with every oddity that the constructor allows."""

from hwgen.formats import get
from hwgen.formats.minifloat import Minifloat

PUBLISHED = [get(name) for name in ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "e4m3full", "e5m2full", "e8m0", "ue5m3")]
ODD = [
    Minifloat(1, 2, 0),
    Minifloat(1, 1, 1),
    Minifloat(3, 0, 3),
    Minifloat(5, 0, 15, "ieee"),
    Minifloat(2, 0, 1, "nan"),
    Minifloat(3, 4, 3, "ieee"),
    Minifloat(2, 5, 1),
    Minifloat(3, 3, 3, "nan"),
    Minifloat(3, 1, 3, "nan"),
    Minifloat(4, 1, 7),
    Minifloat(3, 2, -2, "nan"),
    Minifloat(4, 2, 9, "ieee", has_sign=False),
    Minifloat(6, 1, 31, "nan"),
    Minifloat(4, 3, 5, has_subnormals=False),
]
MINIFLOATS = PUBLISHED + ODD
