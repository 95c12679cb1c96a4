//! Risk and code length in, certified generalisation bound out.
