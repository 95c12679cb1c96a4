//! Codebooks and entropy coding of a coefficient vector.
