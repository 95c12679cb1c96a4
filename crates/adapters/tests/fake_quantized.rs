//! GPT-2 with fake-quantised layers: calibrated, switched, trained through.

use std::collections::BTreeMap;

use adapters::{
    CalibrationError, FakeQuantConfig, FakeQuantizedGpt2, FakeQuantizer, Precision, Quantization,
    Role, Scales,
};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use gpt2_model::cross_entropy;
use quantizers::{Affine, BitWidth, Granularity, Nf4, Operand, Quantizer};
use small::{bits, floats, plain, tokens};

mod small;

/// Inputs with one scale a tensor, which has to be calibrated.
fn static_inputs() -> FakeQuantConfig {
    let input = Quantization {
        granularity: Granularity::Tensor,
        grid: Affine::default().into(),
        ..Quantization::default()
    };
    FakeQuantConfig { input: input.into(), head: true, ..FakeQuantConfig::default() }
}

fn quantizers(model: &FakeQuantizedGpt2) -> Vec<&FakeQuantizer> {
    [model.weights(), model.inputs()].concat()
}

fn weight(granularity: Granularity, shape: [usize; 2]) -> FakeQuantizer {
    let how = Quantization { granularity, ..Quantization::default() };
    FakeQuantizer::new("w", &how.into(), Role::Weight(shape), Scales::Calibrated).unwrap()
}

fn calibrated(config: &FakeQuantConfig, device: &Device, widths: &[u8]) -> FakeQuantizedGpt2 {
    let model = config.apply(plain(device)).unwrap();
    let widths: Vec<BitWidth> = widths.iter().map(|&it| bits(it)).collect();
    model.start_calibration(&widths, &widths);
    model.logits(tokens(device));
    model.finish_calibration().unwrap();
    model
}

#[test]
fn at_32_bits_and_while_calibrating_it_is_the_plain_model() {
    let device = Device::default().autodiff();
    let (plain, model) = (plain(&device), static_inputs().apply(plain(&device)).unwrap());
    let expected = floats(plain.logits(tokens(&device)));
    assert_eq!(floats(model.logits(tokens(&device))), expected);
    model.start_calibration(&[bits(4)], &[bits(4)]);
    // Through the layers' own product: the same numbers.
    assert_eq!(floats(model.logits(tokens(&device))), expected);
    model.finish_calibration().unwrap();
    assert_eq!(floats(model.logits(tokens(&device))), expected, "still at 32 bits");

    let targets = Tensor::<1, Int>::arange(2..18, &device.clone().inner());
    let gradient = |hidden: Tensor<3>, factors: &dyn Fn(Tensor<2>) -> Tensor<1>, w: Tensor<2>| {
        floats(w.grad(&factors(hidden.reshape([16, 12])).backward()).unwrap())
    };
    let of_plain = gradient(
        plain.hidden(tokens(&device)),
        &|hidden| cross_entropy(&plain.head_factors(hidden), &targets),
        plain.h[0].mlp.c_fc.weight.val(),
    );
    let of_model = gradient(
        model.hidden(tokens(&device)),
        &|hidden| cross_entropy(&model.head_factors(hidden), &targets),
        model.h[0].mlp.c_fc.base.weight.val(),
    );
    assert_eq!(of_model, of_plain);
}

#[test]
fn widths_lie_side_by_side_and_an_uncalibrated_one_is_an_error() {
    let device = Device::default();
    let model = calibrated(&static_inputs(), &device, &[8, 4]);
    let logits = |width| {
        model.set_precision(bits(width), bits(width)).unwrap();
        floats(model.logits(tokens(&device)))
    };
    let (full, eight, four) = (logits(32), logits(8), logits(4));
    let distance = |a: &[f32]| a.iter().zip(&full).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    assert!(distance(&eight) > 0.0 && distance(&four) > 20.0 * distance(&eight));
    assert_eq!((logits(8), logits(4), logits(32)), (eight, four.clone(), full), "both ways");

    model.set_precision(bits(4), bits(4)).unwrap();
    let error = model.set_precision(bits(6), bits(6)).unwrap_err();
    let expected =
        "`h.0.attn.c_attn.weight` has no scales for 6 bits, but for [4, 8]; calibrate it first";
    assert_eq!(error.to_string(), expected);
    assert_eq!(floats(model.logits(tokens(&device))), four, "nothing was switched");
    // A later calibration of another width forgets none.
    model.start_calibration(&[bits(6)], &[bits(6)]);
    model.logits(tokens(&device));
    model.finish_calibration().unwrap();
    assert!(quantizers(&model).iter().all(|it| it.calibrated() == [bits(4), bits(6), bits(8)]));
    assert_eq!(logits(4), four);
}

#[test]
fn one_layer_is_the_product_of_what_its_quantisers_make() {
    let device = Device::default();
    let model = calibrated(&FakeQuantConfig::default(), &device, &[4]);
    model.set_precision(bits(4), bits(4)).unwrap();
    let layer = &model.h[1].attn.c_proj;
    let x = Tensor::<1, Int>::arange(0..24, &device).float().reshape([2, 12]).sin();
    let by_hand = |quantizer: Quantizer, values: Tensor<2>| {
        let (shape, values) = (values.dims(), floats(values));
        let params = quantizer.fit(&values, shape).unwrap();
        let mut out = vec![0.0; values.len()];
        quantizer.fake_quantize_into(&values, shape, &params, &mut out).unwrap();
        Tensor::<1>::from_floats(out.as_slice(), &device).reshape(shape)
    };
    let config = FakeQuantConfig::default();
    let input =
        by_hand(config.input.of(bits(4)).unwrap().at(bits(4), Operand::Activation), x.clone());
    let weight = by_hand(
        config.weight.of(bits(4)).unwrap().at(bits(4), Operand::Weight),
        layer.base.weight.val(),
    );
    let bias = layer.base.bias.as_ref().unwrap().val().unsqueeze();
    let found = gpt2_model::LinearLayer::forward(layer, x.unsqueeze()).squeeze_dim::<2>(0);
    assert_eq!(floats(found), floats(input.matmul(weight) + bias));
}

#[test]
fn gradients_pass_the_mask_of_the_grid() {
    let device = Device::default().autodiff();
    let quantizer = weight(Granularity::Tensor, [1, 2]);
    quantizer.start_calibration(&[bits(2)]);
    quantizer.forward(Tensor::from_floats([[1.0, -0.5]], &device));
    quantizer.finish_calibration().unwrap();
    quantizer.set_bits(bits(2)).unwrap();
    // Scale 1, codes -1 to 1; the mask is on the rounded code: half a step beyond still passes.
    let x = Tensor::<2>::from_floats([[0.4, 1.4, 1.6, -9.0]], &device).require_grad();
    let y = quantizer.forward(x.clone());
    assert_eq!(floats(y.clone()), [0.0, 1.0, 1.0, -1.0]);
    let weights = Tensor::<2>::from_floats([[2.0, 3.0, 4.0, 5.0]], &device);
    let grads = (y * weights).sum().backward();
    assert_eq!(floats(x.grad(&grads).unwrap()), [2.0, 3.0, 0.0, 0.0]);
    // What is not finite passes: the loss says so.
    let nan = floats(quantizer.forward(Tensor::from_floats([[f32::NAN, 0.2]], &device)));
    assert!(nan[0].is_nan());
}

#[test]
fn the_state_comes_back_bit_for_bit_and_a_foreign_one_is_refused() {
    let device = Device::default();
    let model = calibrated(&static_inputs(), &device, &[3, 8]);
    let again = static_inputs().apply(plain(&device)).unwrap();
    for (from, to) in quantizers(&model).into_iter().zip(quantizers(&again)) {
        to.restore(&from.state()).unwrap();
        assert_eq!(to.state(), from.state());
        assert_eq!((to.bits(), to.calibrated()), (bits(32), vec![bits(3), bits(8)]));
    }
    for width in [3, 8] {
        model.set_precision(bits(width), bits(width)).unwrap();
        again.set_precision(bits(width), bits(width)).unwrap();
        assert_eq!(floats(model.logits(tokens(&device))), floats(again.logits(tokens(&device))));
    }
    let quantizer = weight(Granularity::default(), [3, 2]);
    let entry = |key: &str, length: usize| (key.to_owned(), vec![1.0; length]);
    for (entries, key) in [
        (vec![entry("4.scale", 2)], "4.zero_point"),
        (vec![entry("40.scale", 2)], "40.scale"),
        (vec![entry("4.mean", 2)], "4.mean"),
        (vec![entry("scale", 2)], "scale"),
        (vec![entry("4.scale", 2), entry("4.zero_point", 1), entry("4.offset", 2)], "4.offset"),
    ] {
        let error = quantizer.restore(&BTreeMap::from_iter(entries)).unwrap_err();
        assert_eq!(error, CalibrationError::State { name: "w".to_owned(), key: key.to_owned() });
    }
    let unfinished = quantizer.finish_calibration().unwrap_err().to_string();
    assert_eq!(unfinished, "`w` is not being calibrated");
    quantizer.start_calibration(&[bits(4)]);
    assert_eq!(quantizer.finish_calibration().unwrap_err().to_string(), "`w`: no value was seen");
    assert!(quantizer.clone().is_calibrating(), "a clone shares the state");
    assert_eq!(quantizer.num_params(), 0);
}

#[test]
fn weights_and_inputs_have_widths_of_their_own() {
    let device = Device::default();
    let model = calibrated(&static_inputs(), &device, &[4, 8]);
    let at = |weights, inputs| {
        model.set_precision(bits(weights), bits(inputs)).unwrap();
        floats(model.logits(tokens(&device)))
    };
    let (both, weights, inputs) = (at(4, 8), at(4, 32), at(32, 8));
    assert!(both != weights && both != inputs && weights != inputs);
    assert!(model.weights().iter().all(|it| it.bits() == bits(32)));
    assert!(model.inputs().iter().all(|it| it.bits() == bits(8)));
    // Of the inputs alone 6 bits are unknown; the weights, set first, go back.
    assert!(model.set_precision(bits(8), bits(6)).is_err());
    assert!(model.weights().iter().all(|it| it.bits() == bits(32)));
}

#[test]
fn what_cannot_be_quantised_is_refused_by_name_and_never_passes_in_silence() {
    let device = Device::default();
    let refused = |config: FakeQuantConfig| config.apply(plain(&device)).unwrap_err().to_string();
    let granularity =
        |text: &str| Quantization { granularity: text.parse().unwrap(), ..Quantization::default() };
    let config = FakeQuantConfig::default();
    let error =
        refused(FakeQuantConfig { input: granularity("channel:1").into(), ..config.clone() });
    assert!(error.starts_with("`h.0.attn.c_attn.input`: `channel:1` for an activation"), "{error}");
    let error = refused(FakeQuantConfig { input: granularity("group:5").into(), ..config.clone() });
    assert!(error.starts_with("`h.0.attn.c_attn.input`: 12 inputs are no multiple"), "{error}");
    let error =
        refused(FakeQuantConfig { weight: granularity("group:9").into(), ..config.clone() });
    assert!(error.starts_with("`h.0.attn.c_attn.weight`: 12 inputs"), "{error}");
    // NF4 has 4 bits and no others, for dynamic inputs too.
    let token = config.input.rules()[0].clone();
    let input = Quantization { grid: Nf4 {}.into(), ..token }.into();
    let model = FakeQuantConfig { input, ..config }.apply(plain(&device)).unwrap();
    let error = model.set_precision(bits(32), bits(8)).unwrap_err().to_string();
    assert!(error.starts_with("`h.0.attn.c_attn.input`: ") && error.contains("nf4"), "{error}");
    assert!(model.set_precision(bits(32), bits(4)).is_ok());
    let error = toml::from_str::<FakeQuantConfig>("[weight]\nwidth = 4").unwrap_err().to_string();
    assert!(error.contains("unknown field `width`"), "{error}");
}

#[test]
fn a_calibration_that_saw_what_is_not_finite_fails_and_changes_nothing() {
    let device = Device::default();
    let model = calibrated(&static_inputs(), &device, &[4]);
    let before = model.calibration();
    model.start_calibration(&[bits(8)], &[bits(8)]);
    model.logits(tokens(&device));
    model.h[1].mlp.c_fc.input.forward(Tensor::from_floats([[f32::NAN; 12]], &device));
    let error = model.finish_calibration().unwrap_err().to_string();
    assert!(error.starts_with("`h.1.mlp.c_fc.input`: value 0 is NaN"), "{error}");
    assert_eq!(model.calibration(), before, "no layer is ahead of another");
    assert!(quantizers(&model).iter().all(|it| it.is_calibrating()));
}

#[test]
fn scales_that_a_tensor_cannot_have_are_refused() {
    let quantizer = weight(Granularity::default(), [3, 2]);
    let restore = |scale: [f32; 2], zero_point: [f32; 2]| {
        let entry = |key: &str, values: [f32; 2]| (key.to_owned(), values.to_vec());
        let entries = [
            entry("4.scale", scale),
            entry("4.zero_point", zero_point),
            entry("4.offset", [0.0; 2]),
        ];
        quantizer.restore(&BTreeMap::from(entries)).map_err(|error| error.to_string())
    };
    restore([0.1, 0.2], [0.0, 0.0]).unwrap();
    for scale in [[0.0, 1.0], [f32::NAN, 1.0], [1.0, -1.0]] {
        assert!(restore(scale, [0.0; 2]).unwrap_err().starts_with("`w`: "));
    }
    for zero_point in [[0.5, 0.0], [-3e9, 0.0], [f32::NAN, 0.0]] {
        let error = restore([1.0; 2], zero_point).unwrap_err();
        assert_eq!(error, "`w` has no such state: `4.zero_point`");
    }
    let one = |key: &str, value| (key.to_owned(), vec![value]);
    let entries = [one("4.scale", 1.0), one("4.zero_point", 0.0), one("4.offset", 0.0)];
    let error = quantizer.restore(&BTreeMap::from(entries)).unwrap_err().to_string();
    assert!(error.starts_with("`w`: ") && error.contains('2'), "one scale, two groups: {error}");
    assert_eq!(quantizer.state()["4.scale"], [0.1, 0.2], "nothing was changed");
}
