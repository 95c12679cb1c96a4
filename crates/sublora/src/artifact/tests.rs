use adapters::LoraConfig;
use burn::tensor::{Int, Tensor};
use gpt2_model::score;
use proptest::prelude::*;

use super::*;
use crate::fixture;

fn artifact() -> Artifact {
    let payload = CodedVector::nearest(&[0.5, -0.5, 0.5, 0.0, 2.0], &[-0.5, 0.0, 0.5]).unwrap();
    Artifact { spec: fixture::spec(5), payload, allocation: vec![] }
}

/// A file with any content and the right checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    [body, &Sha256Hash::of(&[body]).0].concat()
}

fn with_header(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    sealed(&[MAGIC.as_slice(), &VERSION.to_le_bytes(), &length, header, payload].concat())
}

fn refused(bytes: &[u8], because: &str) {
    let reason = Artifact::from_bytes(bytes).unwrap_err();
    assert!(reason.contains(because), "{reason:?} instead of {because:?}");
}

#[test]
fn a_file_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.sublora");
    let artifact = artifact();
    artifact.write(&path).unwrap();
    assert_eq!(Artifact::read(&path).unwrap(), artifact);
    assert_eq!(std::fs::read(&path).unwrap(), artifact.to_bytes().unwrap());
}

#[test]
fn the_code_length_is_that_of_the_payload_and_the_choice() {
    let artifact = artifact();
    let bits = 8 * artifact.payload.to_bytes().len() as u64;
    let totals = [0, 1, 2, 3, 4, 5, 1 << 63, (1 << 63) + 1, u64::MAX];
    let totals = totals.map(|it| CodeLength::of(&artifact, it).unwrap().total() - bits);
    assert_eq!(totals, [0, 0, 1, 2, 2, 3, 63, 64, 64]);
    let stranger = CodeLength { header: u64::MAX, ..CodeLength::of(&artifact, 2).unwrap() };
    assert_eq!(stranger.total(), u64::MAX);
}

#[test]
fn a_truncated_or_longer_file_is_refused() {
    let bytes = artifact().to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(Artifact::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    refused(&[], "ends after 0 bytes");
    refused(&[&bytes[..], &[0]].concat(), "checksum");
}

#[test]
fn every_flipped_bit_is_seen() {
    let bytes = artifact().to_bytes().unwrap();
    for bit in 0..8 * bytes.len() {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Artifact::from_bytes(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn a_lying_file_with_a_right_checksum_is_refused() {
    let artifact = artifact();
    let bytes = artifact.to_bytes().unwrap();
    let header = serde_json::to_vec(&artifact.spec).unwrap();
    let payload = artifact.payload.to_bytes();
    assert_eq!(with_header(&header, &payload), bytes);

    let body = &bytes[..bytes.len() - 32];
    let changed = |at: usize, new: &[u8]| {
        let mut body = body.to_vec();
        body[at..at + new.len()].copy_from_slice(new);
        sealed(&body)
    };
    refused(&changed(0, b"PK"), "does not begin with `SUBLORA`");
    refused(&changed(8, &[3]), "its version is 3, this program reads 2");
    refused(&changed(12, &u32::MAX.to_le_bytes()), "its header claims 4294967295 of");
    let rest = u32::try_from(body.len() - 16).unwrap();
    refused(&changed(12, &(rest + 1).to_le_bytes()), "its header claims");
    refused(&changed(12, &0_u32.to_le_bytes()), "EOF");
    let short = u32::try_from(header.len() - 1).unwrap();
    refused(&changed(12, &short.to_le_bytes()), "EOF");

    refused(&with_header(&header, &[&payload[..], &[0]].concat()), "");
    refused(&with_header(&header, &payload[..payload.len() - 1]), "");
    refused(&with_header(&[b" ", &header[..]].concat(), &payload), "not written as");
    let spec = |change: fn(&mut Spec)| {
        let mut spec = artifact.spec.clone();
        change(&mut spec);
        with_header(&serde_json::to_vec(&spec).unwrap(), &payload)
    };
    refused(&spec(|it| it.sublora = None), "no subspace");
    refused(&spec(|it| it.sublora.as_mut().unwrap().intrinsic_dim = 6), "codes 5 coordinates");
    refused(&spec(|it| it.sublora.as_mut().unwrap().intrinsic_dim = 4), "");
    refused(&spec(|it| it.model.n_head = 3), "n_head");
    refused(&with_header(br#"{"model":1}"#, &payload), "invalid type");
}

#[test]
fn a_header_that_asks_for_too_much_is_refused_before_anything_is_built() {
    let artifact = artifact();
    let payload = artifact.payload.to_bytes();
    let spec = |change: &dyn Fn(&mut Spec)| {
        let mut spec = artifact.spec.clone();
        change(&mut spec);
        with_header(&serde_json::to_vec(&spec).unwrap(), &payload)
    };
    let lora = |change: fn(&mut LoraConfig)| spec(&|it| change(it.lora.as_mut().unwrap()));
    refused(&spec(&|it| it.model.n_layer = 1 << 24), "`n_layer` is 16777216, expected at most");
    refused(&spec(&|it| it.model.n_embd = 1 << 20), "weights, expected at most 17179869184");
    refused(&lora(|it| it.rank = 17), "`rank` is 17, expected at most the width of the model, 16");
    refused(&lora(|it| it.rank = usize::MAX), "`rank` is 18446744073709551615");
    refused(&lora(|it| it.alpha = 1e39), "`alpha` is 1");

    // 2 blocks of 2 sites of 2 (16 + 16) weights and 2 (16 + 257) at the head: 802
    let coordinates = |d| spec(&move |it| it.sublora.as_mut().unwrap().intrinsic_dim = d);
    refused(&coordinates(802), "it codes 5 coordinates, its header says 802");
    refused(&coordinates(803), "it has 803 coordinates for 802 trained weights");
    refused(&coordinates(usize::MAX), "coordinates for 802 trained weights");
    let full = |d| {
        spec(&move |it| {
            it.lora = None;
            it.model.vocab_size = 1 << 24;
            it.sublora.as_mut().unwrap().intrinsic_dim = d;
        })
    };
    let room = (1 << 20) + 1024 * payload.len();
    refused(&full(room), "it codes 5 coordinates");
    refused(&full(room + 1), "bytes of payload, expected at most");
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    let most = usize::try_from(FREE_COORDINATES).unwrap();
    let artifact = |d| Artifact {
        payload: CodedVector::nearest(&vec![0.0; d], &[0.0]).unwrap(),
        allocation: vec![],
        spec: Spec {
            lora: None,
            model: Gpt2Config { vocab_size: 1 << 17, ..fixture::spec(d).model },
            ..fixture::spec(d)
        },
    };
    // Equal coordinates cost their number, in 2 * 20 + 1 bits, and a level, in 1 + 1 + 16: 8 bytes.
    let bytes = artifact(most + 8 * 1024).to_bytes().unwrap();
    assert_eq!(Artifact::from_bytes(&bytes).unwrap().payload.symbols().len(), most + 8 * 1024);
    let error = artifact(most + 8 * 1024 + 1).to_bytes().unwrap_err().to_string();
    let expected = "1056769 coordinates in 8 bytes of payload, expected at most 1056768";
    assert_eq!(error, expected);
}

#[test]
fn scores_that_are_no_numbers_are_an_error() {
    // Both are finite; the adapter's output, the product of rather more than the two, is not.
    let payload = CodedVector::nearest(&[6e4, -6e4, 6e4, 6e4, -6e4], &[-6e4, 6e4]).unwrap();
    let mut artifact = Artifact { payload, ..artifact() };
    artifact.spec.lora.as_mut().unwrap().alpha = 3e38;
    let bytes = artifact.to_bytes().unwrap();
    let artifact = Artifact::from_bytes(&bytes).unwrap();
    let model = artifact.rebuild(None, &Device::default()).unwrap();
    let device = model.wte.weight.device();
    let tokens = Tensor::<2, Int>::from_data([[1, 2, 3]], &device);
    let hidden = model.hidden(tokens).reshape([3, 16]);
    let targets = Tensor::from_data([2, 3, 4], &device);
    let error = Error::from(score(&model.head_factors(hidden), &targets).unwrap_err());
    assert!(error.to_string().contains("expected a finite number"), "{error}");
}

#[test]
fn the_base_must_be_the_one_it_was_trained_on() {
    let mut artifact = artifact();
    let base = fixture::base(&artifact.spec);
    artifact.spec.base = BaseIdentity::of(&base, None).unwrap();
    let device = Device::default();
    let config = artifact.spec.model.clone();
    let given = |base: &PlainGpt2| Some((base.clone(), config.clone()));
    artifact.rebuild(given(&base), &device).unwrap();
    let config = Gpt2Config { n_head: 4, ..config.clone() };
    let error = artifact.rebuild(Some((base, config)), &device).unwrap_err().to_string();
    assert_eq!(error, "the base's configuration is not the one this model was trained on");
    let error = artifact.rebuild(None, &device).unwrap_err().to_string();
    assert!(error.contains("needs its base weights, of SHA-256 "), "{error}");
    let other = Spec { seed: 138, ..artifact.spec.clone() }.random_base(&device).unwrap();
    let error = artifact.rebuild(given(&other), &device).unwrap_err().to_string();
    assert_eq!(error, "the base weights are not the ones this model was trained on");
}

proptest! {
    #[test]
    fn strangers_cannot_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Artifact::from_bytes(&bytes).is_err());
        prop_assert!(Artifact::from_bytes(&sealed(&bytes)).is_err());
        prop_assert!(Artifact::from_bytes(&with_header(&bytes, &[])).is_err());
        let header = serde_json::to_vec(&fixture::spec(5)).unwrap();
        // A payload may be right by chance; then it is what would have been written.
        let file = with_header(&header, &bytes);
        if let Ok(artifact) = Artifact::from_bytes(&file) {
            prop_assert_eq!(artifact.to_bytes().unwrap(), file);
        }
    }
}
