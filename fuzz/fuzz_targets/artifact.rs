//! Whatever the reader of `model.sublora` accepts is what the writer writes, and nothing makes it
//! panic, with a checksum that is right as with one that is not.
//!
//! `cargo +nightly fuzz run artifact -- -max_total_time=60`

#![no_main]

use libfuzzer_sys::fuzz_target;
use sublora::Artifact;
use sublora::corpus::Sha256Hash;

fuzz_target!(|bytes: &[u8]| {
    let sealed = [bytes, &Sha256Hash::of(&[bytes]).0].concat();
    for file in [bytes, &sealed] {
        if let Ok(artifact) = Artifact::from_bytes(file) {
            let again = artifact.to_bytes().expect("what was read can be written");
            assert_eq!(again, file);
        }
    }
});
