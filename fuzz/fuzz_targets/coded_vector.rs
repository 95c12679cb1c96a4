//! Whatever the decoder accepts is what the encoder writes, and nothing makes it panic.
//!
//! `cargo +nightly fuzz run coded_vector -- -max_total_time=60`

#![no_main]

use libfuzzer_sys::fuzz_target;
use quantizers::CodedVector;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((vector, used)) = CodedVector::read_prefix(bytes, 4_096) {
        assert_eq!(vector.to_bytes(), &bytes[..used]);
        assert_eq!(CodedVector::from_bytes(&bytes[..used], 4_096), Ok(vector));
    }
});
