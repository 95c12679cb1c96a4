//! LoRA on queries, values and head against plain PyTorch, on the tiny model of `gpt2-model`'s
//! fixtures (`scripts/generate_gpt2_parity.py`; torch 2.15.0). Tolerance: the largest difference in a
//! tensor is at most 1e-5 of its largest value.

#![expect(clippy::cast_possible_truncation, reason = "token ids are small")]

use std::collections::BTreeMap;
use std::path::Path;

use adapters::{LoraConfig, LoraError, LoraGpt2, Site};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2, assign, cross_entropy, parameters};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

const TOLERANCE: f32 = 1e-5;

type Fixture = BTreeMap<String, Vec<f32>>;

fn read(name: &str) -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gpt2-model/tests/fixtures");
    let bytes = std::fs::read(folder.join(name)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &safetensors::tensor::TensorView<'_>| match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect(),
        _ => view.data().as_chunks().0.iter().map(|it| i64::from_le_bytes(*it) as f32).collect(),
    };
    tensors.iter().map(|(name, it)| (name.to_owned(), values(&it))).collect()
}

/// Every choice of sites, in the order of the model.
#[test]
fn weights_are_named_without_a_model() {
    let model = Gpt2Config {
        vocab_size: 11,
        n_positions: 4,
        n_embd: 6,
        n_layer: 2,
        n_head: 2,
        ..Gpt2Config::default()
    };
    let base = PlainGpt2::zeros(&model, &Device::default()).unwrap();
    for without in 0..=LoraConfig::ALL_SITES.len() {
        let mut sites = LoraConfig::ALL_SITES.to_vec();
        if without < sites.len() {
            sites.remove(without);
        }
        let lora = LoraConfig { rank: 3, sites, ..LoraConfig::default() };
        let adapted = lora.adapt(base.clone(), Key::from_seed(0)).unwrap();
        let found = parameters(&adapted).into_iter().filter(|it| it.name.contains(".lora_"));
        let found: Vec<(String, Vec<usize>)> = found.map(|it| (it.name, it.shape)).collect();
        let named = lora.weights(&model).into_iter().map(|(name, shape)| (name, shape.to_vec()));
        assert_eq!(named.collect::<Vec<_>>(), found);
        let count: usize = found.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(lora.weight_count(&model), count as u64);
    }
}

/// Our path of an adapter, and the fixture's.
fn fixture_name(path: &str) -> String {
    path.replace("attn.c_attn.", "attn.").replace("lm_head.full.", "lm_head.")
}

fn base(fixture: &Fixture, device: &Device) -> PlainGpt2 {
    let config = Gpt2Config {
        vocab_size: 41,
        n_positions: 16,
        n_embd: 12,
        n_layer: 2,
        n_head: 2,
        ..Gpt2Config::default()
    };
    let model = PlainGpt2::zeros(&config, device).unwrap();
    assign(model, |name, _| Some(fixture[name].clone()))
}

fn adapted(lora: &LoraConfig, device: &Device) -> LoraGpt2 {
    lora.adapt(base(&read("parity.safetensors"), device), Key::from_seed(1)).unwrap()
}

fn rank_two() -> LoraConfig {
    LoraConfig { rank: 2, alpha: 4.0, ..LoraConfig::default() }
}

fn tokens(device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i64> = read("parity.safetensors")["tokens"].iter().map(|&id| id as i64).collect();
    Tensor::from_data(TensorData::new(ids, [2, 12]), device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().map(|it| it.abs()).fold(0.0, f32::max);
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference <= TOLERANCE * scale, "{what}: {difference} of {scale}");
}

struct Gradients<'a> {
    path: Vec<String>,
    grads: &'a GradientsParams,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Gradients<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.grads.get::<D>(param.id) {
            self.found.insert(self.path.join("."), floats(gradient));
        }
    }
}

#[test]
fn logits_loss_and_the_gradients_of_the_adapters_alone() {
    let (parity, expected) = (read("parity.safetensors"), read("lora.safetensors"));
    let device = Device::default().autodiff();
    let model = adapted(&rank_two(), &device);
    let model = assign(model, |path, _| expected.get(&fixture_name(path)).cloned());

    let logits = floats(model.logits(tokens(&device)).inner());
    assert_close("logits", &logits, &expected["logits"]);

    let ids: Vec<i64> = parity["targets"].iter().map(|&id| id as i64).collect();
    let targets = Tensor::from_data(TensorData::new(ids, [24]), &device.clone().inner());
    let hidden = model.hidden(tokens(&device)).reshape([24, 12]);
    let loss = cross_entropy(&model.head_factors(hidden), &targets);
    assert_close("loss", &floats(loss.clone().inner()), &expected["loss"]);

    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let mut gather = Gradients { path: Vec::new(), grads: &grads, found: BTreeMap::new() };
    model.visit(&mut gather);
    assert_eq!(gather.found.len(), 10, "two pairs a block and one at the head, nothing frozen");
    for (path, found) in gather.found {
        assert_close(&path, &found, &expected[&format!("grad.{}", fixture_name(&path))]);
    }
}

#[test]
fn a_fresh_adapter_leaves_the_base_as_it_is() {
    let device = Device::default();
    let plain = base(&read("parity.safetensors"), &device).logits(tokens(&device));
    for sites in [vec![], vec![Site::Head], LoraConfig::ALL_SITES.to_vec()] {
        let model = adapted(&LoraConfig { sites, ..rank_two() }, &device);
        assert_eq!(floats(model.logits(tokens(&device))), floats(plain.clone()));
    }
}

#[test]
fn sites_have_the_published_number_of_parameters() {
    // arXiv:2312.17173: D = 4 L E r + r (E + V) on queries, values and head; 2407.18158: 18 L E r + ...
    let device = Device::default();
    let config =
        Gpt2Config { n_layer: 2, n_embd: 24, n_head: 2, vocab_size: 50, ..Default::default() };
    let count = |sites: &[Site]| {
        let lora = LoraConfig { rank: 3, sites: sites.to_vec(), ..LoraConfig::default() };
        let base = PlainGpt2::zeros(&config, &device).unwrap();
        let model = lora.adapt(base, Key::from_seed(1)).unwrap();
        let adapters = parameters(&model).into_iter().filter(|it| it.name.contains(".lora_"));
        let count = adapters.map(|it| it.shape.iter().product::<usize>()).sum::<usize>();
        assert_eq!(lora.weight_count(&config), count as u64);
        count
    };
    let head = 3 * (24 + 50);
    assert_eq!(count(&[Site::Query, Site::Value, Site::Head]), 4 * 2 * 24 * 3 + head);
    assert_eq!(count(&LoraConfig::ALL_SITES), 18 * 2 * 24 * 3 + head);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let refused = |lora: LoraConfig| lora.validate().unwrap_err();
    assert_eq!(refused(LoraConfig { rank: 0, ..rank_two() }), LoraError::Rank);
    for dropout in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(refused(LoraConfig { dropout, ..rank_two() }), LoraError::Dropout(_)));
    }
    // 1e39 is no `f32`: the scale would be infinite.
    for alpha in [f64::INFINITY, 1e39, -1e39] {
        assert_eq!(refused(LoraConfig { alpha, ..rank_two() }), LoraError::Alpha(alpha));
    }
    let sites = vec![Site::Head, Site::Key, Site::Head];
    assert_eq!(refused(LoraConfig { sites, ..rank_two() }), LoraError::Repeated(Site::Head));
}

#[test]
fn a_rank_above_the_width_is_refused_before_anything_is_allocated() {
    let shape = Gpt2Config { n_layer: 2, n_embd: 24, n_head: 2, ..Gpt2Config::default() };
    let lora = |rank| LoraConfig { rank, ..LoraConfig::default() };
    assert_eq!(lora(24).validate_for(&shape), Ok(()));
    for rank in [25, usize::MAX] {
        let expected = LoraError::RankAboveWidth { rank, d_model: 24 };
        assert_eq!(lora(rank).validate_for(&shape), Err(expected.clone()));
        let base = PlainGpt2::zeros(&shape, &Device::default()).unwrap();
        assert_eq!(lora(rank).adapt(base, Key::from_seed(1)).err(), Some(expected));
    }
}
