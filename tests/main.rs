//! Tests of the workspace as a whole. One binary, so that everything is linked once.

mod architecture;
