//! What a step minimises, pass by pass.

use std::collections::BTreeMap;

use adapters::{AdapterRule, Precision, SwitchableConfig, SwitchableGpt2};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use corpus::{Split, WindowSampler};
use counter_rng::Key;
use gpt2_model::{Matching, WeightPath, assign, cross_entropy};

use super::*;
use crate::qat::learner::{Learner, go_to};
use crate::train::{Batch, Kept, Objective, Pass, scalar};

/// Of a run at 2, 4 and 8 bits, with adapters that do something.
fn model(config: &QatConfig, batch: &Batch) -> SwitchableGpt2 {
    let layers = SwitchableConfig {
        widths: config.widths.clone(),
        adapters: vec![AdapterRule { rank: 2, alpha: 2.0, ..AdapterRule::default() }],
        ..SwitchableConfig::default()
    };
    let base = fixture::base(&fixture::spec(16));
    let model = layers.apply(base, Key::from_seed(1)).unwrap();
    model.start_calibration(&config.widths, &config.widths);
    model.hidden(batch.tokens.clone());
    model.finish_calibration().unwrap();
    assign(model, |name, shape| {
        let mut values = vec![0.0; shape.iter().product()];
        Key::from_seed(5).derive(name).fill_normal(0, &mut values);
        name.ends_with("lora_B").then(|| values.iter().map(|it| 0.1 * it).collect())
    })
}

fn batch(corpus: &Corpus) -> Batch {
    let windows = WindowSampler::new(corpus.split(Split::Train), 17, 3).unwrap();
    Batch::first_of(&windows, 0, 4, &Device::default().autodiff())
}

/// Steps that are always the same.
struct Fixed(Vec<Visit>);

impl Plan for Fixed {
    fn visits(&self, _step: u64) -> Vec<Visit> {
        self.0.clone()
    }
}

fn lesson(teacher: usize, weight: f64) -> Lesson {
    Lesson { teacher, weight, matching: Matching::Mse }
}

fn visit(width: u8, lessons: Vec<Lesson>) -> Visit {
    Visit { lessons, ..Visit::alone(bits(width)) }
}

/// Gradients that are there, by name.
fn by_name<M: Module>(model: &M, gradients: &Gradients) -> BTreeMap<String, Vec<f32>> {
    struct Reached<'a> {
        path: WeightPath,
        gradients: &'a Gradients,
        found: BTreeMap<String, Vec<f32>>,
    }
    impl ModuleVisitor for Reached<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                let values = gradient.into_data().iter::<f32>().collect();
                self.found.insert(self.path.name(), values);
            }
        }
    }
    let (path, found) = (WeightPath::default(), BTreeMap::new());
    let mut visitor = Reached { path, gradients, found };
    model.visit(&mut visitor);
    visitor.found
}

/// What a pass minimised and its cross-entropy, and its gradients; none of a pass that only teaches.
type Passed = Option<(f64, f64, BTreeMap<String, Vec<f32>>)>;

/// The passes of a step, and the logits they left.
fn step(
    plan: &dyn Plan,
    config: &QatConfig,
    model: &SwitchableGpt2,
    batch: &Batch,
) -> (Vec<Passed>, Vec<Vec<f32>>) {
    let learner = Learner { plan, config };
    let mut kept = Kept::default();
    let pass = |number| {
        let pass = Pass { step: 0, number };
        learner.begin(model, pass).unwrap();
        let loss = learner.loss(model, batch, pass, &mut kept).unwrap()?;
        let values = (scalar(loss.minimised.clone()).unwrap(), scalar(loss.nats).unwrap());
        Some((values.0, values.1, by_name(model, &loss.minimised.backward())))
    };
    let passes = Objective::<SwitchableGpt2>::passes(&learner, 0).get();
    let passed = (0..passes).map(pass).collect();
    (passed, kept.logits().iter().cloned().map(floats).collect())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().iter::<f32>().collect()
}

/// Logits `[4 * 16, 257]` at a width.
fn logits(model: &SwitchableGpt2, config: &QatConfig, batch: &Batch, width: u8) -> Vec<f32> {
    go_to(model, config, bits(width)).unwrap();
    floats(model.logits(batch.tokens.clone()))
}

/// Mean square, in f64.
fn mse(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>() / a.len() as f64
}

#[test]
fn one_width_by_itself_minimises_the_plain_cross_entropy() {
    let dir = tempfile::tempdir().unwrap();
    let batch = batch(&text(dir.path()));
    let independent = "method.distillation={ kind = \"independent\" }";
    let config = config(&[method("switchable"), independent, "widths=[4]"]);
    let model = model(&config, &batch);
    let plan = config.method.as_dyn().plan(&config).unwrap().unwrap();
    let (mut passed, kept) = step(plan.as_ref(), &config, &model, &batch);
    assert_eq!((passed.len(), kept.len()), (1, 0));
    let (minimised, nats, gradients) = passed.remove(0).unwrap();

    go_to(&model, &config, bits(4)).unwrap();
    let expected = cross_entropy(&batch.factors(&model), &batch.targets);
    assert_eq!(minimised, scalar(expected.clone()).unwrap());
    assert_eq!(nats, minimised);
    let expected = by_name(&model, &expected.backward());
    assert!(gradients.keys().eq(expected.keys()));
    for (name, found) in &gradients {
        let largest = expected[name].iter().fold(0.0_f32, |most, it| most.max(it.abs()));
        assert!(largest > 0.0, "{name}");
        for (found, expected) in found.iter().zip(&expected[name]) {
            // Sums in another order.
            assert!((found - expected).abs() < 1e-4 * largest, "{name}: {found} {expected}");
        }
    }
}

/// Of three visits that learn each counts a third. A teacher is what its model computes, without a
/// gradient, whichever passes lie between.
#[test]
fn a_pass_learns_from_those_that_its_lessons_name() {
    let dir = tempfile::tempdir().unwrap();
    let batch = batch(&text(dir.path()));
    let config = config(&[method("switchable")]);
    let model = model(&config, &batch);
    let plan = Fixed(vec![
        Visit::teacher(BitWidth::FULL),
        visit(8, vec![]), // nobody learns from it
        visit(4, vec![lesson(0, 1.0)]),
        visit(2, vec![lesson(0, 0.25), lesson(2, 0.5)]),
    ]);
    let (passed, kept) = step(&plan, &config, &model, &batch);
    let of = |width| logits(&model, &config, &batch, width);
    assert_eq!(kept, [of(32), of(4)]);
    assert!(passed[0].is_none());
    let added =
        [0.0, mse(&of(4), &of(32)), 0.25 * mse(&of(2), &of(32)) + 0.5 * mse(&of(2), &of(4))];
    assert!(added[1] > 1e-4 && added[2] > 1e-4, "{added:?}");
    for ((passed, added), place) in passed[1..].iter().zip(added).zip([2, 1, 0]) {
        let (minimised, nats, gradients) = passed.as_ref().unwrap();
        let expected = (nats + added) / 3.0;
        // Sums over 64 * 257 logits in f32.
        assert!((minimised - expected).abs() < 1e-5 * expected, "{minimised} {expected}");
        let own = [format!("adapters.{place}."), format!("norms.{place}.")];
        assert!(gradients.keys().all(|name| own.iter().any(|part| name.contains(part))));
        assert_eq!(gradients.len(), 2 * 4 * 2 + 5 * 2); // factors; gains and biases
    }
}

#[test]
fn with_two_widths_recursive_distillation_is_the_cascade() {
    let dir = tempfile::tempdir().unwrap();
    let batch = batch(&text(dir.path()));
    let of = |kind: &str| {
        let distillation =
            format!("method.distillation={{ kind = \"{kind}\", full_precision = false }}");
        let config = config(&[method("switchable"), &distillation, "widths=[2, 4]"]);
        let plan = config.method.as_dyn().plan(&config).unwrap().unwrap();
        step(plan.as_ref(), &config, &model(&config, &batch), &batch)
    };
    let (cascade, recursive) = (of("cascade"), of("recursive"));
    assert_eq!(cascade, recursive);
    let [Some(high), Some(low)] = &cascade.0[..] else { panic!("two passes learn") };
    assert_eq!(high.0, high.1 / 2.0); // the higher width, by its cross-entropy alone
    assert!(low.0 > low.1 / 2.0);
}

/// Beside widths that compute the same there is nothing to learn but the text.
#[test]
fn a_teacher_that_is_the_pupil_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let batch = batch(&text(dir.path()));
    let config = config(&[method("switchable")]);
    let model = model(&config, &batch);
    let twice = Fixed(vec![visit(4, vec![]), visit(4, vec![lesson(0, 1.0)])]);
    let (passed, _) = step(&twice, &config, &model, &batch);
    assert_eq!(passed[0], passed[1]);
}
