//! No ONNX model makes the reader panic, hang or take memory without end.
//!
//! `TMPDIR=/dev/shm cargo +nightly fuzz run weight_files_onnx -- -max_total_time=60`

#![no_main]

mod weight_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| weight_file::read("weights.onnx", bytes));
