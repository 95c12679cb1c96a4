//! Runs of every allocation, from the first step to the certificate.

use subspace_projectors::Fixed;

use super::*;
use crate::compression::Compression;

/// Overrides of every allocation, each with both gates where it has one.
const ALLOCATIONS: [&[&str]; 8] = [
    &["sublora.allocation_mode=uniform"],
    &["sublora.allocation_mode=fixed", "sublora.allocation_ratio=0.8"],
    &["sublora.allocation_mode=fixed", "sublora.allocation_ratio=1"],
    &["sublora.allocation_mode=per-layer"],
    &[
        "sublora.allocation_mode=per-layer",
        "sublora.allocation_table={ \"h.0\" = [2, 6], rest = [1, 7] }",
    ],
    &["sublora.allocation_mode=learned"],
    &["sublora.allocation_mode=learned", "sublora.allocation_gate.kind=soft-mask"],
    &["sublora.allocation_mode=learned-shared"],
];

#[test]
fn every_allocation_begins_alike_and_goes_the_whole_way() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.2);
    let mut first_losses = Vec::new();
    for (place, overrides) in ALLOCATIONS.iter().enumerate() {
        let overrides = [&["base={ kind = \"random\" }"], *overrides].concat();
        let run = run(dir.path().join(place.to_string()), &corpus, &overrides, &());
        run.train(false).unwrap();
        let metrics = std::fs::read_to_string(run.folder.join("train/metrics.jsonl")).unwrap();
        let (loss, _) = metrics.split_once(",\"learning_rate\"").unwrap();
        first_losses.push(loss.to_owned());
        // One block and the head, both sides of each; of a side without coordinates there is none.
        for name in ["gradient_A/h.0", "gradient_B/h.0", "gradient_A/rest", "gradient_B/rest"] {
            let alone = overrides.contains(&"sublora.allocation_ratio=1") && name.contains("_A");
            let expected = if alone { 0 } else { 3 }; // steps 4, 8 and 11
            assert_eq!(metrics.matches(name).count(), expected, "{overrides:?} {name}");
        }
        let artifact = run.compress(false).unwrap();
        let limits = artifact.spec.plan().unwrap().unwrap().limits();
        assert_eq!(artifact.allocation.len(), limits.len());
        let record = Compression::read(&run.folder).unwrap();
        let bits: u32 = limits.iter().map(|&it| u64::BITS - (it - 1).leading_zeros()).sum();
        assert_eq!(record.bits.allocation, u64::from(bits.next_multiple_of(8)), "{overrides:?}");
        assert_eq!((record.intrinsic_dim, record.trained_weights), (16, 674)); // 2 (2 (32) + 16 + 257)
        assert_eq!(record.gates.is_empty(), !metrics.contains("gate/h.0"));
        let certificate = run.certify(0).unwrap();
        assert_eq!(certificate.artifact.code_length, record.code_length);
        let verdict = verify(&run.certificate_path(), None, Some(&run.device), &|| 0.0, &());
        assert!(matches!(verdict, Ok(Verification::Confirmed { .. })), "{verdict:?}");
    }
    assert!(first_losses.windows(2).all(|pair| pair[0] == pair[1]), "{first_losses:?}");
}

#[test]
fn gates_move_in_quantisation_aware_training_at_their_rate() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.2);
    let [still, moved] = ["0", "100"].map(|rate| {
        let rate = format!("compress.qat_gate_rate={rate}");
        let learned = ["sublora.allocation_mode=learned", "base={ kind = \"random\" }", &rate];
        let run = run(dir.path().join(&rate), &corpus, &learned, &());
        run.train(false).unwrap();
        let artifact = run.compress(false).unwrap();
        let trained = std::fs::read(run.folder.join("train/best.safetensors")).unwrap();
        (trained, artifact.allocation, Compression::read(&run.folder).unwrap())
    });
    assert_eq!(still.0, moved.0, "the same training");
    assert_eq!(still.1, [2, 7], "{:?}", still.2.gates); // of 3 and 13, from halves, 1 and 6
    assert_ne!(still.1, moved.1);
    // 0 to 3 in 2 bits, 0 to 13 in 4: a byte, whatever the gates are.
    assert_eq!((still.2.bits.allocation, moved.2.bits.allocation), (8, 8));
}

#[test]
fn another_allocation_is_never_taken_for_the_one_that_was_trained() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.2);
    let base = "base={ kind = \"random\" }";
    let fixed = ["sublora.allocation_mode=fixed", "sublora.allocation_ratio=0.8", base];
    let mut run = run(dir.path().join("run"), &corpus, &fixed, &());
    run.train(false).unwrap();
    let artifact = run.compress(false).unwrap();

    // Going on with another ratio.
    let equal = Fixed { ratio: 0.5 };
    run.config.sublora.as_mut().unwrap().allocation = equal.clone().into();
    let error = run.train(true).unwrap_err().to_string();
    assert!(error.ends_with("`sublora.allocation_ratio` was 0.8, and is 0.5 now"), "{error}");

    // A header that says another one than the payload.
    let mut forged = artifact.clone();
    forged.spec.sublora.as_mut().unwrap().allocation = equal.into();
    let error = Artifact::from_bytes(&forged.to_bytes().unwrap()).unwrap_err();
    assert_eq!(error, "its allocation is 800, its header says 500");

    // A configuration that was changed after training: the checkpoint knows better.
    let key = |change: &str| {
        let text = std::fs::read_to_string(run.folder.join("config.toml")).unwrap();
        let config = RunConfig::parse(&text, &[change.to_owned()]).unwrap();
        let (folder, device) = (run.folder.clone(), run.device.clone());
        let device_name = run.device_name.clone();
        let Run { corpus, now, progress, .. } = run;
        let changed = Run { folder, config, corpus, device, device_name, now, progress };
        changed.compress(false).unwrap_err().to_string()
    };
    for (change, difference) in [
        ("sublora.allocation_ratio=0.5", "`sublora.allocation_ratio` was 0.8, and is 0.5 now"),
        ("seed=138", "`seed` was 137, and is 138 now"),
        (
            "sublora={ intrinsic_dim = 16 }",
            "`sublora.allocation_mode` was \"fixed\", and is \"uniform\" now",
        ),
    ] {
        let error = key(change);
        assert!(error.contains("are of another model: ") && error.ends_with(difference), "{error}");
    }
}
