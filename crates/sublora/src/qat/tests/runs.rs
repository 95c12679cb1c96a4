//! Every method from its base to its record.

use std::collections::BTreeMap;

use corpus::Split;

use super::*;
use crate::blocks::Blocks;
use crate::scoring::{Pace, Scorer};
use crate::{Run, RunConfig};

/// Mean loss of the plain base of `config` on the text that is evaluated, in nats per token.
fn nats_of_base(config: &QatConfig, corpus: &Corpus) -> f64 {
    let run = Run {
        folder: PathBuf::new(),
        config: RunConfig {
            seed: config.seed,
            model: config.model.clone(),
            train: config.train.clone(),
            ..RunConfig::default()
        },
        corpus,
        device: Device::default(),
        device_name: "flex".to_owned(),
        now: &|| 0.0,
        progress: &(),
    };
    let (base, _, _) = run.base().unwrap();
    let base = burn::module::Module::valid(&base);
    let blocks = Blocks::new(corpus.split(Split::Val), vec![0, 1], 16, 16);
    let of = |index| blocks.of_document(index).map(move |block| (index, block));
    let windows: Vec<_> = (0..2).flat_map(of).collect();
    let pace = Pace { batch: 4, shards: 1 };
    let scorer = Scorer { pace, now: &|| 0.0, progress: &() };
    let scores = scorer.score("base", &base, &blocks, &windows).unwrap();
    let sum: f64 = scores.ln_p.iter().map(|&it| f64::from(it)).sum();
    -sum / scores.ln_p.len() as f64
}

fn nats(record: &QatRecord) -> Vec<f64> {
    record.widths.iter().map(|it| it.nats_per_token).collect()
}

/// Trained parameters: at rank 2, two blocks with (16 + 48) + (16 + 16) + 2 (16 + 64) = 256 inputs and
/// outputs each have 1,024 in an adapter; five norms have 80; 2 (48 + 16 + 64 + 16) = 288 output channels
/// have a scale each.
#[test]
fn every_method_is_recorded_at_all_widths() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    assert_eq!(METHODS.map(|it| it.0).as_slice(), AnyQatMethod::NAMES);
    let all = |passes| Some(BTreeMap::from([(2, passes), (4, passes), (8, passes)]));
    // What is trained, what a width below 32 has beside the base, and the passes at each.
    let expected = [
        (0, 0, None),
        (3 * (1_024 + 80), 1_024 + 80, all(6)),
        (1_024 + 3 * (80 + 288), 1_024 + 80 + 288, all(6)),
        (1_024 + 80, 1_024, all(2)),
    ];
    for ((name, overrides), (parameters, own, passes)) in METHODS.into_iter().zip(expected) {
        let run = run(dir.path().join(name), &corpus, &[overrides], &());
        let record = run.run(false).unwrap();
        assert_eq!(record, QatRecord::read(&run.folder).unwrap().timed(&record), "{name}");
        assert_eq!((record.method.as_str(), record.seed), (name, 137));
        let widths = &record.widths;
        assert_eq!(widths.iter().map(|it| it.bits.get()).collect::<Vec<_>>(), [2, 4, 8, 32]);
        for it in widths {
            let is_full = it.bits.is_full();
            assert_eq!(it.input_bits, it.bits);
            assert_eq!((it.context, it.stride, it.documents), (16, 16, 2));
            assert_eq!((it.tokens, it.perplexity), (widths[0].tokens, it.nats_per_token.exp()));
            assert_eq!(it.own_parameters, if is_full { 0 } else { own }, "{name} {}", it.bits);
            // 288 scales of 32 bits for 2 * 12 * 16^2 = 6,144 weights: 1.5 bits each.
            let scales = if is_full { 0.0 } else { 1.5 };
            assert_eq!(it.bits_per_weight, f64::from(it.bits.get()) + scales);
        }
        let training = record.training.as_ref();
        assert_eq!(training.map(|it| it.passes.clone()), passes, "{name}");
        if let Some(it) = training {
            assert_eq!((it.steps, it.tokens_per_step, it.parameters), (6, 64, parameters));
        }
        // Only the cyclic method trains norms that 32 bits use, too.
        let base = nats_of_base(&run.config, &corpus);
        assert_eq!(nats(&record)[3] == base, name != "cyclic", "{name}");
        assert_eq!(run.evaluate(&[bits(4), BitWidth::FULL]).unwrap().len(), 2);
        let again =
            nats(&QatRecord { widths: run.evaluate(&[bits(4)]).unwrap(), ..record.clone() });
        assert_eq!(again, nats(&record)[1..2], "{name}: evaluated again");
    }
}

impl QatRecord {
    /// With the times of another, which are not written.
    fn timed(mut self, other: &Self) -> Self {
        for (ours, theirs) in self.widths.iter_mut().zip(&other.widths) {
            ours.seconds = theirs.seconds;
        }
        self
    }
}

/// At a learning rate of 1e-30 adapters of no effect, norms and scales stay what they began as.
#[test]
fn before_it_learns_every_method_is_post_training_and_then_it_is_better() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let (slow, mean) =
        ("train.learning_rate={ peak = 1e-30, warm_up = 0 }", |record: &QatRecord| {
            nats(record)[..3].iter().sum::<f64>() / 3.0
        });
    let of = |name: &str, overrides: &[&str]| {
        let folder = dir.path().join(format!("{name}-{}", overrides.len()));
        run(folder, &corpus, &[&[method(name)], overrides].concat(), &()).run(false).unwrap()
    };
    let rounded = of("post-training", &[]);
    for name in ["switchable", "mergeable", "cyclic"] {
        assert_eq!(nats(&of(name, &[slow])), nats(&rounded), "{name}");
        let trained = of(name, &[]);
        assert!(mean(&trained) < mean(&rounded) - 0.01, "{name}: {trained:?} {rounded:?}");
    }
}
