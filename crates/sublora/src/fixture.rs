//! Text, corpora and models small enough for a unit test.

use std::num::NonZeroU64;
use std::path::Path;

use adapters::LoraConfig;
use burn::tensor::Device;
use corpus::{AnyTokenizer, BuildConfig, Byte, Corpus, IfExists, NamedText, Sha256Hash, Source};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2};

use crate::config::SubspaceConfig;
use crate::spec::{BaseIdentity, Spec};

/// Sentences of made-up words, some far more frequent than others.
pub(crate) fn prose(documents: u64, words: usize) -> Vec<String> {
    const SYLLABLES: [&str; 8] = ["ka", "lo", "mi", "ren", "su", "ta", "vel", "or"];
    let below = |draws: &mut counter_rng::Words, bound: usize| {
        usize::try_from(draws.below(NonZeroU64::new(bound as u64).unwrap())).unwrap()
    };
    let document = |index| {
        let mut draws = Key::from_seed(7).derive("prose").index(index).words(0);
        let word = |_| {
            let most = 1 + below(&mut draws, SYLLABLES.len());
            let syllables = (0..=below(&mut draws, 2)).map(|_| SYLLABLES[below(&mut draws, most)]);
            syllables.collect::<String>()
        };
        (0..words).map(word).collect::<Vec<_>>().join(" ") + "."
    };
    (0..documents).map(document).collect()
}

/// A corpus of bytes; with `val_fraction` 0 its training documents are `documents`, in order.
pub(crate) fn corpus(dir: &Path, documents: &[String], val_fraction: f64) -> Corpus {
    let texts = documents.iter().enumerate();
    let texts = texts.map(|(i, text)| NamedText { name: i.to_string(), text: text.clone() });
    let build = BuildConfig {
        tokenizer: AnyTokenizer::Byte(Byte::default()),
        val_fraction,
        ..BuildConfig::default()
    };
    build.build(&[Source::Texts(texts.collect())], dir, IfExists::Refuse, &()).unwrap()
}

/// Two blocks of width 16 over bytes, adapters on query, value and head, `intrinsic_dim` coordinates.
pub(crate) fn spec(intrinsic_dim: usize) -> Spec {
    let model = Gpt2Config {
        vocab_size: 257,
        n_positions: 16,
        n_embd: 16,
        n_layer: 2,
        n_head: 2,
        ..Gpt2Config::default()
    };
    Spec {
        model,
        seed: 137,
        corpus: Sha256Hash([0; 32]),
        base: BaseIdentity::Random,
        lora: Some(LoraConfig { rank: 2, ..LoraConfig::default() }),
        trainable: vec![],
        sublora: Some(SubspaceConfig { intrinsic_dim, ..SubspaceConfig::default() }),
    }
}

/// The random base of `spec`, on a device with autodiff.
pub(crate) fn base(spec: &Spec) -> PlainGpt2 {
    spec.random_base(&Device::default().autodiff()).unwrap()
}
