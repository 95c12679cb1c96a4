//! Quantised gradients and trained scales: against the host, where every number is spelt out.

use std::collections::{BTreeMap, BTreeSet};

use adapters::{
    Calibration, FakeQuantConfig, FakeQuantizedGpt2, FakeQuantizer, GradientRounding,
    LayerGradient, LearnedScales, Precision, Quantization, Role, Scales,
};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, LinearLayer, PlainGpt2};
use quantizers::{
    AnyGrid, BitWidth, GradientQuantizer, Granularity, LsqPlus, Mse, Operand, Quantizer, Shift,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use small::{bits, floats};

mod small;

fn device() -> Device {
    Device::default().autodiff()
}

fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values
}

fn matrix(values: &[f32], shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &device())
}

/// The gradient at `x` of $\sum g \cdot f(x)$.
fn gradient(g: &[f32], shape: [usize; 2], f: impl Fn(Tensor<2>) -> Tensor<2>) -> Vec<f32> {
    let x = matrix(&normal(1, g.len()), shape).require_grad();
    let y = f(x.clone());
    assert_eq!(y.clone().into_data(), x.clone().into_data(), "identity forward");
    floats(x.grad(&(y * matrix(g, shape)).sum().backward()).unwrap())
}

#[test]
fn stochastic_gradients_are_those_of_the_host_by_name_seed_and_pass() {
    let (g, shape) = (normal(2, 300), [20, 15]);
    let layer = LayerGradient::new("h.0.mlp.c_fc", GradientRounding::Stochastic { seed: 5 });
    let through = || gradient(&g, shape, |x| layer.forward(x));
    assert_eq!(through(), g, "32 bits");
    let host = |width, pass| {
        let mut g = g.clone();
        let key = Key::from_seed(5).derive("h.0.mlp.c_fc");
        GradientQuantizer::Dynamic(key).quantize(&mut g, bits(width), pass).unwrap();
        g
    };
    for (width, pass) in [(8, 0), (8, 1), (4, 7)] {
        layer.set_bits(bits(width)).unwrap();
        layer.set_pass(pass);
        assert_eq!(through(), host(width, pass));
        assert_ne!(through(), g);
    }
    assert_ne!(host(8, 0), host(8, 1));
    // While calibrating, nothing is quantised; of these scales there are none to find.
    layer.start_calibration(&[bits(8)]);
    assert_eq!(through(), g);
    layer.finish_calibration().unwrap();
    assert_eq!((layer.calibrated(), layer.bits()), (vec![], bits(4)));
    // What has no code passes.
    let mut broken = g.clone();
    broken[3] = f32::INFINITY;
    assert_eq!(gradient(&broken, shape, |x| layer.forward(x)), broken);
}

#[test]
fn calibrated_gradients_are_clipped_and_uncalibrated_widths_pass() {
    let layer = LayerGradient::new("l", GradientRounding::nearest());
    let shape = [1, 4];
    let through = |g: &[f32]| gradient(g, shape, |x| layer.forward(x));
    layer.start_calibration(&[bits(4), bits(8)]);
    let (first, second) = ([0.1, -7.0, 2.0, 0.0], [0.5, 3.0, -1.0, 1.5]);
    assert_eq!((through(&first), through(&second)), (first.to_vec(), second.to_vec()));
    layer.finish_calibration().unwrap();
    layer.set_bits(bits(4)).unwrap();
    // The largest magnitude of both is 7: a scale of 1, ties to even, clipped to 7.
    assert_eq!(through(&[0.4, 2.5, -9.0, 3.5]), [0.0, 2.0, -7.0, 4.0]);
    layer.set_bits(bits(6)).unwrap();
    assert_eq!(through(&first), first, "a width that was not calibrated");
    assert_eq!(layer.calibrated(), [bits(4), bits(8)]);
    let again = LayerGradient::new("l", GradientRounding::nearest());
    again.restore(&layer.state()).unwrap();
    again.set_bits(bits(4)).unwrap();
    assert_eq!(
        gradient(&[0.4, 2.5, -9.0, 3.5], shape, |x| again.forward(x)),
        [0.0, 2.0, -7.0, 4.0]
    );
}

fn model(config: &FakeQuantConfig) -> FakeQuantizedGpt2 {
    config.apply(small::plain(&device())).unwrap()
}

fn tokens() -> Tensor<2, Int> {
    small::tokens(&device())
}

#[test]
fn one_quantised_gradient_makes_those_of_weight_input_and_bias() {
    let layer = &model(&FakeQuantConfig::default()).h[0].mlp.c_fc; // [12, 48]
    let x = matrix(&normal(4, 5 * 12), [5, 12]).require_grad();
    let g = normal(6, 5 * 48);
    let gradients = || {
        let y = LinearLayer::forward(layer, x.clone().unsqueeze());
        let grads = (y * matrix(&g, [5, 48]).unsqueeze()).sum().backward();
        let weight = layer.base.weight.val().grad(&grads).unwrap();
        let bias = layer.base.bias.as_ref().unwrap().val().grad(&grads).unwrap();
        [floats(x.grad(&grads).unwrap()), floats(weight), floats(bias)]
    };
    let full = gradients();
    layer.gradient.set_bits(bits(3)).unwrap();
    let mut quantized = g.clone();
    let key = Key::from_seed(0).derive("h.0.mlp.c_fc.gradient");
    GradientQuantizer::Dynamic(key).quantize(&mut quantized, bits(3), 0).unwrap();
    let q = matrix(&quantized, [5, 48]).inner();
    let expected = [
        floats(q.clone().matmul(layer.base.weight.val().inner().transpose())),
        floats(x.clone().inner().transpose().matmul(q.clone())),
        floats(q.sum_dim(0)),
    ];
    for ((found, expected), full) in gradients().iter().zip(&expected).zip(&full) {
        assert_ne!(found, full);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found}, {expected}");
        }
    }
}

#[test]
fn gradients_of_a_whole_model_are_switched_at_once() {
    let config = FakeQuantConfig { head: true, ..FakeQuantConfig::default() };
    let model = model(&config);
    let gradient = || {
        let loss = model.logits(tokens()).powf_scalar(2.0).mean();
        floats(model.h[0].attn.c_attn.base.weight.val().grad(&loss.backward()).unwrap())
    };
    let full = gradient();
    let norm = |g: &[f32]| g.iter().map(|g| g * g).sum::<f32>().sqrt();
    let error = |g: Vec<f32>| {
        norm(&g.iter().zip(&full).map(|(g, full)| g - full).collect::<Vec<_>>()) / norm(&full)
    };
    let at = |width, pass| {
        model.set_gradients(bits(width), pass).unwrap();
        gradient()
    };
    // Steps at 8 bits are a sixteenth of those at 4 bits, and the same pass repeats itself.
    let (eight, four) = (error(at(8, 1)), error(at(4, 1)));
    assert!(eight > 0.0 && 8.0 * eight < four && four < 1.0, "{eight}, {four}");
    assert_eq!(at(8, 1), at(8, 1));
    assert_ne!(at(8, 1), at(8, 2));
    assert_eq!(at(32, 1), full);
}

fn weight(how: &Quantization, shape: [usize; 2]) -> FakeQuantizer {
    FakeQuantizer::new("w", &how.clone().into(), Role::Weight(shape), Scales::Calibrated).unwrap()
}

/// A quantiser with trained scales at 3 bits, of `values`.
fn learning(config: &Quantization, values: &[f32], shape: [usize; 2]) -> Option<FakeQuantizer> {
    config.grid.as_dyn().codes(bits(3)).ok()?;
    let mut quantizer = weight(config, shape);
    quantizer.start_calibration(&[bits(3)]);
    quantizer.forward(matrix(values, shape));
    quantizer.finish_calibration().unwrap();
    quantizer.set_bits(bits(3)).unwrap();
    assert_eq!(quantizer.num_params(), 0);
    quantizer.learn_scales(&[bits(3)], &device()).unwrap();
    Some(quantizer)
}

#[test]
fn gradients_of_trained_scales_are_those_of_the_host_for_every_grid_and_granularity() {
    let shape = [7, 6];
    let (values, g) = (normal(8, 42), normal(9, 42));
    let granularities = ["tensor", "channel:1", "group:3:pad", "group:7"];
    let mut tried = 0;
    for grid in AnyGrid::all() {
        for granularity in granularities {
            let config = Quantization {
                grid: grid.clone(),
                granularity: granularity.parse().unwrap(),
                range: Mse::default().into(),
                ..Quantization::default()
            };
            let Some(quantizer) = learning(&config, &values, shape) else { continue };
            let config = config.at(bits(3), Operand::Weight);
            tried += 1;
            let x = matrix(&values, shape).require_grad();
            let y = quantizer.forward(x.clone());
            let grads = (y.clone() * matrix(&g, shape)).sum().backward();

            let params = config.fit(&values, shape).unwrap();
            let mut out = vec![0.0; 42];
            config.fake_quantize_into(&values, shape, &params, &mut out).unwrap();
            assert_eq!(floats(y), out, "{grid:?}, {granularity}");
            let codes = grid.as_dyn().codes(bits(3)).unwrap();
            let rule = codes.rule;
            let host = config.gradients(&values, shape, &params, rule, &g).unwrap();
            assert_eq!(floats(x.grad(&grads).unwrap()), host.input);
            let factor = codes.gradient_factor(42);
            let learned = &quantizer.learned()[0];
            let close = |param: &Param<Tensor<1>>, expected: &[f64]| {
                let found = floats(param.val().grad(&grads).unwrap());
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    let expected = factor * expected;
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 1e-5 * (1.0 + expected.abs()), "{grid:?}: {found}, {expected}");
                }
            };
            close(&learned.scale, &host.scale);
            assert_eq!(learned.zero_point.is_some(), codes.shift == Some(Shift::ZeroPoint));
            assert_eq!(learned.offset.is_some(), codes.shift == Some(Shift::Offset));
            if let Some(zero_point) = &learned.zero_point {
                close(zero_point, &host.zero_point);
            }
            if let Some(offset) = &learned.offset {
                close(offset, &host.offset);
            }
        }
    }
    assert!(tried >= 4 * 7, "{tried}");
}

/// Minimises the squared error of 4,096 normal values over the step of LSQ at 4 bits. The stationary
/// step of the whole normal distribution is .3402 for levels -8 to 7; the paper's start, .6031.
#[test]
fn a_trained_step_comes_to_rest_where_the_paper_says() {
    let values = normal(11, 4_096);
    let shape = [64, 64];
    let config: Quantization = serde_json::from_str(
        r#"{"granularity": "tensor", "grid": {"kind": "lsq"}, "range": {"kind": "mean-magnitude"}}"#,
    )
    .unwrap();
    let mut quantizer = weight(&config, shape);
    quantizer.start_calibration(&[bits(4)]);
    quantizer.forward(matrix(&values, shape));
    quantizer.finish_calibration().unwrap();
    quantizer.set_bits(bits(4)).unwrap();
    quantizer.learn_scales(&[bits(4)], &device()).unwrap();
    let scale = |quantizer: &FakeQuantizer| floats(quantizer.learned()[0].scale.val())[0];
    assert!((scale(&quantizer) - 0.603).abs() < 0.02, "{}", scale(&quantizer));
    let mut adam = AdamConfig::new().init();
    let target = matrix(&values, shape);
    for step in 0..300 {
        let loss = (quantizer.forward(target.clone()) - target.clone()).powf_scalar(2.0).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &quantizer);
        quantizer = adam.step(0.01 * f64::powf(0.98, f64::from(step)), quantizer, grads);
    }
    assert!((scale(&quantizer) - 0.3402).abs() < 0.01, "{}", scale(&quantizer));
}

#[test]
fn trained_scales_are_parameters_of_the_model_side_by_side() {
    let config = FakeQuantConfig {
        weight: Quantization { grid: LsqPlus::default().into(), ..Quantization::default() }.into(),
        ..FakeQuantConfig::default()
    };
    let mut model = model(&config);
    let before = model.num_params();
    let error = model.learn_scales(&[bits(4)], &device()).unwrap_err().to_string();
    assert!(error.starts_with("`h.0.attn.c_attn.weight` has no scales for 4 bits"), "{error}");
    model.start_calibration(&[bits(4), bits(2)], &[bits(4), bits(2)]);
    model.logits(tokens());
    model.finish_calibration().unwrap();
    model.set_precision(bits(4), bits(4)).unwrap();
    let four = floats(model.logits(tokens()));
    model.learn_scales(&[bits(4), bits(2)], &device()).unwrap();
    // A scale and an offset for each of the outputs 36 + 12 + 48 + 12 of two blocks, at two widths;
    // inputs have theirs by token.
    assert_eq!(model.num_params() - before, 2 * 2 * 2 * 108);
    assert_eq!(floats(model.logits(tokens())), four, "they start from calibration");
    let gradient_at = |width, of: usize| {
        model.set_precision(bits(width), bits(width)).unwrap();
        let grads = model.logits(tokens()).sum().backward();
        model.h[1].mlp.c_fc.weight.learned()[of].scale.val().grad(&grads)
    };
    // By width: 2, then 4.
    assert!(gradient_at(4, 1).is_some() && gradient_at(4, 0).is_none());
    assert!(gradient_at(2, 0).is_some() && gradient_at(32, 1).is_none());
}

#[test]
fn dynamic_weights_follow_training_and_need_no_calibration() {
    let config = FakeQuantConfig { weight_scales: Scales::Dynamic, ..FakeQuantConfig::default() };
    let mut model = model(&config);
    model.set_precision(bits(4), bits(4)).unwrap();
    let before = floats(model.logits(tokens()));
    let layer = &mut model.h[0].mlp.c_fc;
    layer.base.weight = layer.base.weight.clone().map(|weight| weight * 8.0);
    let weight = layer.weight.forward(layer.base.weight.val());
    let levels: BTreeSet<u32> = floats(weight.clone()).iter().map(|w| w.abs().to_bits()).collect();
    assert!(levels.len() > 8, "a scale an output");
    let largest = |values: Vec<f32>| values.iter().fold(0.0_f32, |all, v| all.max(v.abs()));
    let (found, full) = (largest(floats(weight)), largest(floats(layer.base.weight.val())));
    assert!((found / full - 1.0).abs() < 1e-6, "the range follows the weight");
    assert_ne!(floats(model.logits(tokens())), before);
}

#[test]
fn embeddings_are_quantised_if_asked_for_and_once() {
    let embeddings = Quantizer { bits: bits(4), ..FakeQuantConfig::default().embeddings };
    let config = FakeQuantConfig { embeddings: embeddings.clone(), ..FakeQuantConfig::default() };
    let (plain, quantized) = (model(&FakeQuantConfig::default()), model(&config));
    let weights = floats(plain.wte.weight.val());
    let mut expected = vec![0.0; weights.len()];
    let params = embeddings.fit(&weights, [19, 12]).unwrap();
    embeddings.fake_quantize_into(&weights, [19, 12], &params, &mut expected).unwrap();
    assert_eq!(floats(quantized.wte.weight.val()), expected);
    assert_eq!(floats(quantized.tied_head().transpose()), expected, "the tied head with them");
    assert_ne!(floats(quantized.wpe.weight.val()), floats(plain.wpe.weight.val()));
    // The head as a layer of its own is made of the weights that were there before.
    let head = model(&FakeQuantConfig { head: true, ..config });
    assert_eq!(floats(head.lm_head.unwrap().base.weight.val().transpose()), weights);
    let wrong =
        Quantizer { granularity: Granularity::Token, operand: Operand::Weight, ..embeddings };
    let config = FakeQuantConfig { embeddings: wrong, ..FakeQuantConfig::default() };
    let plain = PlainGpt2::random(
        &Gpt2Config { n_embd: 12, n_head: 2, vocab_size: 9, n_layer: 1, ..Gpt2Config::default() },
        Key::from_seed(1),
        &device(),
    );
    let error = config.apply(plain.unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("`wte`: ") && error.contains("has no tokens"), "{error}");
}

/// Bit for bit through a file, and nothing is taken over from one that does not fit.
#[test]
fn the_calibration_of_a_model_survives_a_checkpoint() {
    let config = FakeQuantConfig {
        head: true,
        input: Quantization { granularity: Granularity::Tensor, ..Quantization::default() }.into(),
        gradient: GradientRounding::nearest(),
        ..FakeQuantConfig::default()
    };
    let model = model(&config);
    model.start_calibration(&[bits(3), bits(8)], &[bits(3), bits(8)]);
    model.start_gradient_calibration(&[bits(8)]);
    model.logits(tokens()).powf_scalar(2.0).mean().backward();
    model.finish_calibration().unwrap();
    model.finish_gradient_calibration().unwrap();
    let calibration = model.calibration();
    // Weights and inputs of nine layers at two widths, gradients at one; three entries each.
    assert_eq!(calibration.tensors.len(), 9 * (2 + 2 + 1) * 3);
    assert_eq!(calibration.tensors["h.1.mlp.c_proj.weight.3.scale"].len(), 12);
    assert_eq!(calibration.tensors["lm_head.gradient.8.scale"].len(), 1);

    let bytes_of =
        |values: &Vec<f32>| values.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<u8>>();
    let bytes: BTreeMap<_, _> =
        calibration.tensors.iter().map(|(key, values)| (key, bytes_of(values))).collect();
    let views = bytes.iter().map(|(key, bytes)| {
        (key, TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).unwrap())
    });
    let settings = calibration.settings.clone().into_iter().collect();
    let file = safetensors::serialize(views, Some(settings)).unwrap();
    let read = SafeTensors::deserialize(&file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let floats_of = |bytes: &[u8]| {
        bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect::<Vec<_>>()
    };
    let tensors = read.iter().map(|(key, view)| (key.to_owned(), floats_of(view.data())));
    let settings = header.metadata().clone().unwrap().into_iter();
    let entries = Calibration { tensors: tensors.collect(), settings: settings.collect() };

    let again = self::model(&config);
    again.restore_calibration(&entries).unwrap();
    assert_eq!(again.calibration(), calibration);
    for width in [3, 8] {
        model.set_precision(bits(width), bits(width)).unwrap();
        again.set_precision(bits(width), bits(width)).unwrap();
        assert_eq!(floats(model.logits(tokens())), floats(again.logits(tokens())));
    }
    let with = |change: fn(&mut Calibration)| {
        let mut stored = calibration.clone();
        change(&mut stored);
        again.restore_calibration(&stored).unwrap_err().to_string()
    };
    let error = with(|it| {
        it.tensors.insert("h.7.attn.c_attn.weight.3.scale".to_owned(), vec![1.0]);
    });
    let expected = "no quantiser of this model has the state `h.7.attn.c_attn.weight.3.scale`";
    assert_eq!(error, expected);
    let error = with(|it| drop(it.tensors.remove("h.1.mlp.c_fc.weight.3.zero_point")));
    assert_eq!(error, "`h.1.mlp.c_fc.weight` has no such state: `3.zero_point`");
    let error = with(|it| {
        it.settings.insert("h.1.mlp.c_fc.weight".to_owned(), "log2".to_owned());
    });
    assert!(error.starts_with("`h.1.mlp.c_fc.weight` was calibrated as log2, and is "), "{error}");
    let error =
        with(|it| drop(it.tensors.insert("h.0.mlp.c_fc.gradient.8.scale".into(), vec![0.0])));
    assert!(error.starts_with("`h.0.mlp.c_fc.gradient`: "), "{error}");
    assert_eq!(again.calibration(), calibration, "nothing was changed");
}

/// What is trained is stored as it counts, and a calibration that comes later takes its place.
#[test]
fn trained_scales_lie_by_width_and_end_with_the_next_calibration() {
    let how = Quantization { granularity: Granularity::Tensor, ..Quantization::default() };
    let values = normal(12, 20);
    let shape = [4, 5];
    let calibrate = |quantizer: &FakeQuantizer| {
        quantizer.start_calibration(&[bits(4), bits(2)]);
        quantizer.forward(matrix(&values, shape));
        quantizer.finish_calibration().unwrap();
    };
    let learned = |widths: &[u8]| {
        let mut quantizer = weight(&how, shape);
        calibrate(&quantizer);
        let widths: Vec<BitWidth> = widths.iter().map(|&it| bits(it)).collect();
        quantizer.learn_scales(&widths, &device()).unwrap();
        quantizer
    };
    for quantizer in [learned(&[2, 4]), learned(&[4, 2, 4])] {
        let widths: Vec<BitWidth> = quantizer.learned().iter().map(LearnedScales::bits).collect();
        assert_eq!(widths, [bits(2), bits(4)]);
    }
    let trained = learned(&[2, 4]).map(&mut Times(2.0));
    let calibrated = learned(&[]);
    assert_eq!(trained.state()["4.scale"], [2.0 * calibrated.state()["4.scale"][0]]);
    trained.set_bits(bits(4)).unwrap();
    let of_trained = floats(trained.forward(matrix(&values, shape)));
    let frozen = weight(&how, shape);
    frozen.restore(&trained.state()).unwrap();
    frozen.set_bits(bits(4)).unwrap();
    assert_eq!(floats(frozen.forward(matrix(&values, shape))), of_trained);
    calibrate(&trained);
    assert_eq!(trained.state(), calibrated.state());
    assert_ne!(floats(trained.forward(matrix(&values, shape))), of_trained);
    // A scale that has left the numbers is not passed over.
    let broken = learned(&[4]).map(&mut Times(f32::NAN));
    broken.set_bits(bits(4)).unwrap();
    assert!(floats(broken.forward(matrix(&values, shape))).iter().all(|it| it.is_nan()));
}

/// Multiplies every parameter.
struct Times(f32);

impl ModuleMapper for Times {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|it| it * self.0)
    }
}
