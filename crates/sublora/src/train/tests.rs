//! The training scheme against slow references (§ the module docs of `in_subspace`).

mod passes;
mod probe;
mod undecayed;

use burn::module::{ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use corpus::{Corpus, Split};
use counter_rng::Key;
use gpt2_model::{cross_entropy, host};
use subspace_projectors::{Gates, Layout, Moment};

use super::objective::scalar;
use super::*;
use crate::fixture;
use crate::spec::Spec;
use crate::subspace::Subspace;

const SEQ: usize = 12;

fn text() -> (tempfile::TempDir, Corpus) {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 30), 0.0);
    (dir, corpus)
}

fn assembled(spec: &Spec) -> (LoraGpt2, Layout) {
    spec.assemble(fixture::base(spec)).unwrap()
}

fn subspace(spec: &Spec, model: &LoraGpt2, layout: &Layout) -> Subspace {
    let allocated = spec.allocated(layout).unwrap().unwrap();
    Subspace::new(model, layout.clone(), allocated).unwrap()
}

/// Without gates.
fn ungated(subspace: &Subspace) -> Gates {
    subspace.allocated().gates(&[], Moment::Coded)
}

fn place(subspace: &Subspace, model: LoraGpt2, alpha: &[f32]) -> LoraGpt2 {
    subspace.place(model, alpha, &ungated(subspace))
}

fn pull_back(subspace: &Subspace, model: &LoraGpt2, grads: &GradientsParams) -> Vec<f32> {
    let gradient = subspace.gradient(model, grads).unwrap();
    let alpha = vec![0.0; subspace.dimension()];
    subspace.allocated().pull_back(&alpha, &ungated(subspace), &gradient).0
}

fn coordinates(d: usize) -> Vec<f32> {
    let mut alpha = vec![0.0; d];
    Key::from_seed(11).derive("alpha").fill_normal(0, &mut alpha);
    alpha
}

fn gradients(model: &LoraGpt2, corpus: &Corpus, config: &TrainConfig) -> (f64, GradientsParams) {
    let windows = WindowSampler::new(corpus.split(Split::Train), config.seq + 1, 3).unwrap();
    let Slope { loss, grads, .. } =
        trainer(config).slope(model, &CrossEntropy, &windows, 5).unwrap();
    (loss, grads)
}

/// Without a folder: for steps that are not recorded.
fn trainer(config: &TrainConfig) -> Trainer<'_> {
    Trainer { config, spec: String::new(), folder: PathBuf::new(), now: &|| 0.0, progress: &() }
}

fn config(batch: usize, accumulation: u64, shards: u64) -> TrainConfig {
    TrainConfig { batch, accumulation, shards, seq: SEQ, ..TrainConfig::default() }
}

/// Largest difference, relative to the largest value.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0_f32, |most, it| most.max(it.abs()));
    assert!(largest > 0.0);
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / largest
}

/// Puts slices of one tensor where the weights of a layout were, so that the graph reaches through.
struct Tie<'a> {
    path: Vec<String>,
    layout: &'a Layout,
    theta: Tensor<1>,
}

impl ModuleMapper for Tie<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let Some(tensor) = self.layout.tensor(&name) else {
            return param;
        };
        let shape: [usize; D] = tensor.shape().try_into().unwrap();
        let value = self.theta.clone().slice([tensor.range()]).reshape(shape);
        Param::initialized(param.id, value)
    }
}

#[test]
fn the_pulled_back_gradient_is_that_of_end_to_end_autodiff() {
    let (_dir, corpus) = text();
    let spec = fixture::spec(24);
    let (model, layout) = assembled(&spec);
    let subspace = subspace(&spec, &model, &layout);
    let alpha = coordinates(24);
    let (loss, grads) = {
        let placed = place(&subspace, model.clone(), &alpha);
        let (loss, grads) = gradients(&placed, &corpus, &config(4, 1, 1));
        (loss, pull_back(&subspace, &placed, &grads))
    };

    // theta_0 + P alpha inside the graph, P a matrix of D x d from the columns P e_i.
    let device = Device::default().autodiff();
    let origin = subspace.weights_at(&[0.0; 24], &ungated(&subspace));
    let mut matrix = vec![0.0; layout.ambient() * 24];
    let allocated = subspace.allocated();
    for column in 0..24 {
        let (mut unit, mut image) = (vec![0.0; 24], vec![0.0; layout.ambient()]);
        unit[column] = 1.0;
        allocated.apply(&unit, &ungated(&subspace), &mut image);
        image.iter().enumerate().for_each(|(row, &value)| matrix[row * 24 + column] = value);
    }
    let matrix = Tensor::<2>::from_data(TensorData::new(matrix, [layout.ambient(), 24]), &device);
    let tracked = Tensor::<1>::from_floats(alpha.as_slice(), &device).require_grad();
    let moved = matrix.matmul(tracked.clone().reshape([24, 1])).reshape([layout.ambient()]);
    let theta = moved + Tensor::<1>::from_floats(origin.as_slice(), &device);
    let model = model.map(&mut Tie { path: Vec::new(), layout: &layout, theta });
    let windows = WindowSampler::new(corpus.split(Split::Train), SEQ + 1, 3).unwrap();
    let index = WindowIndex { step: 5, micro_batch: 0, row: 0 };
    let batch = Batch::of(&windows, index, 4, &device);
    let reference = cross_entropy(&batch.factors(&model), &batch.targets);
    let reference_loss = scalar(reference.clone()).unwrap();
    let gradient = tracked.grad(&reference.backward()).unwrap();
    let gradient: Vec<f32> = host(gradient).unwrap().iter::<f32>().collect();

    assert!((loss - reference_loss).abs() < 1e-5, "{loss} and {reference_loss}");
    assert!(distance(&grads, &gradient) < 1e-5, "{grads:?} and {gradient:?}");
}

#[test]
fn a_step_does_not_depend_on_how_its_windows_are_split() {
    let (_dir, corpus) = text();
    let spec = fixture::spec(24);
    let (model, layout) = assembled(&spec);
    let subspace = subspace(&spec, &model, &layout);
    let model = place(&subspace, model, &coordinates(24));
    let pulled = |config: &TrainConfig| {
        let (loss, grads) = gradients(&model, &corpus, config);
        (loss, pull_back(&subspace, &model, &grads))
    };
    let (loss, whole) = pulled(&config(8, 2, 1));
    for shards in [2, 4, 8] {
        let (sharded_loss, sharded) = pulled(&config(8, 2, shards));
        assert!((loss - sharded_loss).abs() < 1e-5);
        assert!(distance(&sharded, &whole) < 1e-5);
        assert_eq!((sharded_loss, sharded), pulled(&config(8, 2, shards))); // to the bit, again
    }

    // The mean over two micro-batches, one graph at a time.
    let windows = WindowSampler::new(corpus.split(Split::Train), SEQ + 1, 3).unwrap();
    let mut mean = vec![0.0; 24];
    for micro_batch in 0..2 {
        let index = WindowIndex { step: 5, micro_batch, row: 0 };
        let batch = Batch::of(&windows, index, 8, &model.wte.weight.device());
        let grads = cross_entropy(&batch.factors(&model), &batch.targets).backward();
        let grads = GradientsParams::from_grads(grads, &model);
        let part = pull_back(&subspace, &model, &grads);
        mean.iter_mut().zip(part).for_each(|(mean, part)| *mean += part / 2.0);
    }
    assert!(distance(&mean, &whole) < 1e-5);
}

#[test]
fn the_origin_is_the_base_to_the_bit() {
    let spec = fixture::spec(24);
    let base = fixture::base(&spec);
    let (model, layout) = spec.assemble(base.clone()).unwrap();
    let subspace = subspace(&spec, &model, &layout);
    let origin = place(&subspace, model.clone(), &[0.0; 24]);
    let tokens = Tensor::<1, Int>::arange(60..76, &Device::default()).reshape([1, 16]);
    let bits = |hidden: Tensor<3>| -> Vec<f32> { host(hidden).unwrap().iter::<f32>().collect() };
    let expected = bits(base.valid().hidden(tokens.clone()));
    assert_eq!(bits(model.valid().hidden(tokens.clone())), expected);
    assert_eq!(bits(origin.valid().hidden(tokens.clone())), expected);
    let moved = place(&subspace, model, &coordinates(24));
    assert_ne!(bits(moved.valid().hidden(tokens)), expected);
}

#[test]
fn at_the_first_step_only_b_has_a_gradient() {
    let (_dir, corpus) = text();
    let (model, layout) = assembled(&fixture::spec(24));
    let (_, grads) = gradients(&model, &corpus, &config(4, 1, 1));
    let flat = crate::subspace::flat_gradient(&model, &layout, &grads).unwrap();
    for tensor in layout.tensors() {
        let largest = flat[tensor.range()].iter().fold(0_f32, |most, it| most.max(it.abs()));
        assert_eq!(largest == 0.0, tensor.name().ends_with(".lora_A"), "{}", tensor.name());
    }
}

#[test]
fn dropout_is_off_in_evaluation() {
    let (_dir, corpus) = text();
    let mut spec = fixture::spec(24);
    spec.lora.as_mut().unwrap().dropout = 0.5;
    let (model, layout) = assembled(&spec);
    let model = place(&subspace(&spec, &model, &layout), model, &coordinates(24));
    let config = TrainConfig { eval_batches: 2, ..config(4, 1, 1) };
    let windows = WindowSampler::new(corpus.split(Split::Train), SEQ + 1, 3).unwrap();
    let trainer = trainer(&config);
    let evaluate = || trainer.evaluate(&model, &CrossEntropy, &windows).unwrap().loss;
    assert_eq!(evaluate().to_bits(), evaluate().to_bits());
    // In training it is on, and the same step draws the same masks.
    let loss = |step| trainer.slope(&model, &CrossEntropy, &windows, step).unwrap().loss;
    let off = evaluate();
    assert!((loss(0) - off).abs() > 1e-4);
}

#[test]
fn shards_do_not_free_each_others_graphs() {
    let (_dir, corpus) = text();
    let spec = fixture::spec(24);
    let (model, _) = assembled(&spec);
    let (loss, _) = gradients(&model, &corpus, &config(2, 1, 2));
    // Shared leaves failed in one step of 500 on two cores.
    let many = config(2, 2_000, 2);
    let (again, _) = gradients(&model, &corpus, &many);
    assert!((loss - again).abs() < 0.5);
}
