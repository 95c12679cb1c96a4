//! Parity with PyTorch `transformers` on tiny seeded models.
//!
//! The fixtures are written by `scripts/generate_gpt2_parity.py` (torch 2.15.0, transformers 5.23.0):
//!
//! ```text
//! uv run scripts/generate_gpt2_parity.py
//! ```
//!
//! Tolerance: the largest difference in a tensor is at most 1e-5 of its largest value.

#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "token ids are small")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{LayerNorm, Linear};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gpt2_model::{
    Activation, CheckpointError, Gpt2, Gpt2Config, PlainGpt2, assign, cross_entropy, load,
    parameters, save, score,
};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

const TOLERANCE: f32 = 1e-5;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A fixture's tensors: shape and values as `f32`.
fn read(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &safetensors::tensor::TensorView<'_>| match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect(),
        _ => view.data().as_chunks().0.iter().map(|it| i64::from_le_bytes(*it) as f32).collect(),
    };
    tensors.iter().map(|(name, it)| (name.to_owned(), (it.shape().to_vec(), values(&it)))).collect()
}

fn config(activation_function: Activation, bias: bool) -> Gpt2Config {
    Gpt2Config {
        vocab_size: 41,
        n_positions: 16,
        n_embd: 12,
        n_layer: 2,
        n_head: 2,
        activation_function,
        bias,
        layer_norm_epsilon: 1e-5,
    }
}

type Fixture = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn model(fixture: &Fixture, config: &Gpt2Config, device: &Device) -> PlainGpt2 {
    let model = PlainGpt2::zeros(config, device).unwrap();
    assign(model, |name, shape| {
        let (found, values) = &fixture[name];
        assert_eq!(found, shape, "{name}");
        Some(values.clone())
    })
}

fn ids<const D: usize>(
    fixture: &Fixture,
    name: &str,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    let values: Vec<i64> = fixture[name].1.iter().map(|&id| id as i64).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], scale: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference <= TOLERANCE * scale, "{what}: {difference} of {scale}");
}

fn largest(values: &[f32]) -> f32 {
    values.iter().map(|it| it.abs()).fold(0.0, f32::max)
}

fn flat_hidden(model: &PlainGpt2, tokens: Tensor<2, Int>) -> Tensor<2> {
    let hidden = model.hidden(tokens);
    let [batch, seq, d_model] = hidden.dims();
    hidden.reshape([batch * seq, d_model])
}

fn loss(model: &PlainGpt2, fixture: &Fixture, device: &Device) -> Tensor<1> {
    let tokens = ids(fixture, "tokens", [2, 12], device);
    let targets = ids(fixture, "targets", [24], &device.clone().inner());
    cross_entropy(&model.head_factors(flat_hidden(model, tokens)), &targets)
}

/// Gradients by name.
struct Gather<'a> {
    path: Vec<String>,
    grads: &'a GradientsParams,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Gather<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.replace("gamma", "weight").replace("beta", "bias"));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.grads.get::<D>(param.id).expect("every weight is reached");
        self.found.insert(self.path.join("."), floats(gradient));
    }
}

fn gradients(model: &Gpt2<Linear, LayerNorm>, loss: &Tensor<1>) -> BTreeMap<String, Vec<f32>> {
    let grads = GradientsParams::from_grads(loss.backward(), model);
    let mut gather = Gather { path: Vec::new(), grads: &grads, found: BTreeMap::new() };
    model.visit(&mut gather);
    gather.found
}

#[test]
fn logits_loss_and_every_gradient_are_those_of_transformers() {
    let fixture = read(&fixtures().join("parity.safetensors"));
    let device = Device::default().autodiff();
    let model = model(&fixture, &config(Activation::GeluNew, true), &device);
    let logits = floats(model.logits(ids(&fixture, "tokens", [2, 12], &device)).inner());
    let expected = &fixture["logits"].1;
    assert_close("logits", &logits, expected, largest(expected));

    let loss = loss(&model, &fixture, &device);
    assert_close("loss", &floats(loss.clone().inner()), &fixture["loss"].1, 1.0);
    let found = gradients(&model, &loss);
    assert_eq!(found.len(), 28, "two embeddings, two blocks of twelve, one norm of two");
    for (name, found) in found {
        let expected = &fixture[&format!("grad.{name}")].1;
        assert_close(&name, &found, expected, largest(expected));
    }
}

#[test]
fn the_inference_path_agrees_with_the_differentiable_one() {
    let fixture = read(&fixtures().join("parity.safetensors"));
    let device = Device::default();
    let model = model(&fixture, &config(Activation::GeluNew, true), &device);
    let tokens = ids(&fixture, "tokens", [2, 12], &device);
    let expected = &fixture["logits"].1;
    assert_close("logits", &floats(model.logits(tokens.clone())), expected, largest(expected));

    let targets = ids(&fixture, "targets", [24], &device);
    let scores = score(&model.head_factors(flat_hidden(&model, tokens)), &targets).unwrap();
    let targets: Vec<usize> = fixture["targets"].1.iter().map(|&id| id as usize).collect();
    for (i, (row, target)) in expected.chunks(41).zip(targets).enumerate() {
        let lse = row.iter().map(|it| f64::from(*it).exp()).sum::<f64>().ln();
        let p = |it: f32| (f64::from(it) - lse).exp();
        let entropy: f64 = row.iter().map(|&it| -p(it) * (f64::from(it) - lse)).sum();
        let rank = row.iter().filter(|&&it| it >= row[target]).count() as u32 - 1;
        assert!((f64::from(scores.ln_p[i]) - (f64::from(row[target]) - lse)).abs() < 1e-5);
        assert!((f64::from(scores.entropy[i]) - entropy).abs() < 1e-5);
        assert_eq!(scores.rank[i], rank);
    }
}

#[test]
fn exact_gelu_and_no_biases() {
    let fixture = read(&fixtures().join("parity.safetensors"));
    let device = Device::default();
    for (name, config) in [
        ("gelu.logits", config(Activation::Gelu, true)),
        ("no_bias.logits", config(Activation::GeluNew, false)),
    ] {
        let model = model(&fixture, &config, &device);
        let logits = floats(model.logits(ids(&fixture, "tokens", [2, 12], &device)));
        let expected = &fixture[name].1;
        assert_close(name, &logits, expected, largest(expected));
    }
    let device = device.autodiff();
    let model = model(&fixture, &config(Activation::Gelu, true), &device);
    let name = "h.0.mlp.c_fc.weight";
    let found = &gradients(&model, &loss(&model, &fixture, &device))[name];
    let expected = &fixture[&format!("gelu.grad.{name}")].1;
    // Other backends than the CPU have an error function of single precision at best.
    let coarser = if format!("{device:?}").contains("Flex") { 1.0 } else { 200.0 };
    assert_close(name, found, expected, coarser * largest(expected));
}

#[test]
fn ten_steps_of_adam_w_take_the_same_way() {
    let fixture = read(&fixtures().join("parity.safetensors"));
    let device = Device::default().autodiff();
    let mut model = model(&fixture, &config(Activation::GeluNew, true), &device);
    let adam_w = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.999).with_epsilon(1e-8);
    let mut optimizer = adam_w.with_weight_decay(0.01).init();
    let expected = &fixture["adamw.losses"].1;
    for (step, expected) in expected.iter().enumerate() {
        let loss = loss(&model, &fixture, &device);
        let value = floats(loss.clone().inner())[0];
        // The zero gradient of the key bias is amplified by Adam: five times the usual tolerance.
        assert!(
            (value - expected).abs() <= 5.0 * TOLERANCE * expected,
            "step {step}: {value} {expected}"
        );
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, grads);
    }
}

#[test]
fn every_layout_of_a_checkpoint_is_read() {
    let expected = read(&fixtures().join("expected.safetensors"));
    let device = Device::default();
    for folder in ["tiny-hf", "tiny-hf-sharded", "tiny-hf-bin"] {
        let (model, config) = load(&fixtures().join(folder), &device).unwrap();
        assert_eq!((config.n_embd, config.vocab_size), (4, 32));
        let logits = floats(model.logits(ids(&expected, "tokens", [1, 8], &device)));
        let expected = &expected["logits"].1;
        assert_close(folder, &logits, expected, largest(expected));
    }
}

#[test]
fn a_saved_checkpoint_is_read_back_bit_for_bit() {
    let device = Device::default();
    let folder = tempfile::tempdir().unwrap();
    for bias in [true, false] {
        let config = config(Activation::GeluNew, bias);
        let model = PlainGpt2::random(&config, counter_rng::Key::from_seed(5), &device).unwrap();
        let path = folder.path().join(format!("bias-{bias}"));
        save(&model, &config, &path).unwrap();
        let (again, read_config) = load(&path, &device).unwrap();
        assert_eq!(read_config, config);
        let values = |model: &PlainGpt2| gpt2_model::read(model, |_| true).unwrap();
        assert_eq!(values(&again), values(&model));
        assert!(matches!(save(&model, &config, &path), Err(CheckpointError::Io { .. })));
    }
}

#[test]
fn a_damaged_checkpoint_is_refused_by_name() {
    let device = Device::default();
    let copy = |folder: &str| {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(fixtures().join(folder)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        copy
    };
    let message = |folder: &tempfile::TempDir| load(folder.path(), &device).map(drop).unwrap_err();

    let folder = copy("tiny-hf");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(matches!(message(&folder), CheckpointError::NoWeights(_)));

    let folder = copy("tiny-hf");
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(message(&folder), CheckpointError::Weights { .. }));

    for (field, wrong, variant) in [
        ("\"n_embd\": 4", "\"n_embd\": 8", "has shape"),
        ("\"n_layer\": 2", "\"n_layer\": 3", "lacks the weight `h.2.ln_1.weight`"),
        ("\"n_layer\": 2", "\"n_layer\": 1", "which this GPT-2 does not have"),
        ("\"n_head\": 2", "\"n_head\": 3", "does not divide"),
        ("\"model_type\": \"gpt2\"", "\"model_type\": \"bert\"", "expected `gpt2`"),
        ("\"gelu_new\"", "\"relu\"", "expected `gelu_new` or `gelu`"),
        ("\"n_inner\": null", "\"n_inner\": 12", "`n_inner` is 12, expected 4 `n_embd`"),
        ("{", "", "no valid configuration"),
    ] {
        let folder = copy("tiny-hf");
        let path = folder.path().join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(field), "{field}");
        std::fs::write(&path, text.replacen(field, wrong, 1)).unwrap();
        let message = message(&folder).to_string();
        assert!(message.contains(variant), "{wrong}: {message}");
    }

    let folder = copy("tiny-hf");
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("\"n_inner\": null", "\"n_inner\": 0");
    let huge = format!("\"n_embd\": {}", 1_u64 << 62); // four times that is 0 modulo 2^64
    std::fs::write(&path, text.replace("\"n_embd\": 4", &huge)).unwrap();
    assert!(matches!(message(&folder), CheckpointError::Unsupported { .. }));

    let folder = copy("tiny-hf-sharded");
    let path = folder.path().join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("model-00001", "../model-00001")).unwrap();
    assert!(matches!(message(&folder), CheckpointError::Unsupported { .. }));
}

#[test]
fn the_random_model_has_the_same_bits_everywhere() {
    let config = config(Activation::GeluNew, true);
    let model =
        PlainGpt2::random(&config, counter_rng::Key::from_seed(137), &Device::default()).unwrap();
    assert_eq!(
        parameters(&model).iter().map(|it| it.shape.iter().product::<usize>()).sum::<usize>(),
        usize::try_from(config.parameter_count()).unwrap()
    );
    let first = |name: &str| {
        let found = gpt2_model::read(&model, |it| it == name).unwrap();
        found[0].1.iter::<f32>().next().unwrap().to_bits()
    };
    // From this test's own first run: another platform must give the same.
    let bits = ["wte.weight", "h.1.mlp.c_proj.weight"].map(first);
    assert_eq!(bits, BITS);
}

const BITS: [u32; 2] = [1_019_909_650, 3_157_288_737];
