"""Networks as projects of other flows, which must compute the codes of the golden model."""
