//! Linear operators from a small subspace to the parameters of a network.
