//! Where scales come from, and the file they are kept in.

use adapters::{Calibration, FakeQuantizedGpt2, Precision};
use burn::tensor::{Int, Tensor, TensorData};
use corpus::Sha256Hash;
use gpt2_model::{NormLayer, PlainGpt2};
use quantizers::{Granularity, Operand, Quantizer};

use super::*;
use crate::qat::calibrate::calibrate;
use crate::qat::calibration_file::{NAME, Origin, read, write};
use crate::spec::BaseIdentity;

const OWN_WIDTH: &str = "calibration.upstream=own-width";
const PER_TENSOR: &str = "quantize.input={ granularity = \"tensor\" }";

fn base() -> PlainGpt2 {
    fixture::base(&fixture::spec(16))
}

/// Windows of one token, `[5, 1]`.
fn tokens() -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(vec![97_i64, 108, 32, 107, 46], [5, 1]), &Device::default())
}

fn calibrated(config: &QatConfig) -> FakeQuantizedGpt2 {
    let model = config.quantize.apply(base()).unwrap();
    calibrate(&model, config, &[tokens()]).unwrap();
    model
}

/// Of a run on `base`.
fn origin(base: BaseIdentity) -> Origin {
    Origin {
        base,
        seed: 137,
        corpus: Sha256Hash([7; 32]),
        windows: [4, 16],
        calibration: CalibrationConfig::default(),
    }
}

fn of_base() -> Origin {
    origin(BaseIdentity::of(&base(), None).unwrap())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().iter::<f32>().collect()
}

/// Symmetric, as a matrix of weights or inputs is quantised.
fn quantized(
    matrix: Tensor<2>,
    width: u8,
    operand: Operand,
    granularity: Granularity,
) -> Tensor<2> {
    let quantizer = Quantizer { bits: bits(width), granularity, operand, ..Quantizer::default() };
    let (shape, values) = (matrix.dims(), floats(matrix));
    let params = quantizer.fit(&values, shape).unwrap();
    let mut out = vec![0.0; values.len()];
    quantizer.fake_quantize_into(&values, shape, &params, &mut out).unwrap();
    Tensor::from_data(TensorData::new(out, shape), &Device::default())
}

/// A token alone attends to itself, so that the input of the first `attn.c_proj` is the value of its
/// `attn.c_attn`: columns 32 to 48 of $Q_x(x) Q_W(W) + b$ at the width itself, of $xW + b$ at full precision.
/// A symmetric scale is the largest magnitude over $2^{b - 1} - 1$.
#[test]
fn inputs_are_calibrated_behind_layers_at_their_own_width() {
    let base = base();
    let embedded = base.wte.forward(tokens().to_device(&base.wte.weight.device()))
        + base.wpe.weight.val().narrow(0, 0, 1).unsqueeze();
    let x = NormLayer::forward(&base.h[0].ln_1, embedded).inner().reshape([5, 16]);
    let layer = &base.h[0].attn.c_attn;
    let bias: Tensor<2> = layer.bias.as_ref().unwrap().val().inner().unsqueeze();
    let value = |x: Tensor<2>, w: Tensor<2>| floats((x.matmul(w) + bias.clone()).narrow(1, 32, 16));
    let weight = layer.weight.val().inner();
    let largest = |values: Vec<f32>| values.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
    let of_full = largest(value(x.clone(), weight.clone()));

    let scale = |calibration: &Calibration, name: &str, width: u8| {
        calibration.tensors[&format!("{name}.input.{width}.scale")].clone()
    };
    let [full, own] = [
        calibrated(&config(&[PER_TENSOR])).calibration(),
        calibrated(&config(&[PER_TENSOR, OWN_WIDTH])).calibration(),
    ];
    for (width, top) in [(2, 1.0), (4, 7.0), (8, 127.0)] {
        let x = quantized(x.clone(), width, Operand::Activation, Granularity::Tensor);
        let channel = Granularity::Channel { axis: 1 };
        let w = quantized(weight.clone(), width, Operand::Weight, channel);
        let of_own = largest(value(x, w));
        let close = |found: Vec<f32>, expected: f32| {
            // Products of 16 terms in another order.
            assert!((found[0] / expected - 1.0).abs() < 1e-5, "{width}: {found:?} {expected}");
        };
        let name = "h.0.attn.c_proj";
        close(scale(&full, name, width), of_full / top);
        close(scale(&own, name, width), of_own / top);
        // Before the first layer nothing is quantised; weights are as they are.
        let first = "h.0.attn.c_attn";
        assert_eq!(scale(&own, first, width), scale(&full, first, width));
        assert_ne!(scale(&own, "h.1.mlp.c_proj", width), scale(&full, "h.1.mlp.c_proj", width));
        let key = format!("h.1.mlp.c_proj.weight.{width}.scale");
        assert_eq!(own.tensors[&key], full.tensors[&key]);
    }
    assert!(
        (largest(value(quantized(x, 2, Operand::Activation, Granularity::Tensor), weight))
            / of_full
            - 1.0)
            .abs()
            > 1e-3,
        "at 2 bits it is another"
    );
}

/// The model is left at 32 bits, ready for every width, whatever has to be calibrated.
#[test]
fn what_is_dynamic_needs_no_calibration() {
    let weights = "quantize.weight_scales=dynamic";
    for upstream in [OWN_WIDTH, "calibration.upstream=full-precision"] {
        let model = calibrated(&config(&[weights, upstream]));
        assert!(model.calibration().tensors.is_empty(), "{upstream}");
        for width in [2, 4, 8, 32] {
            model.set_precision(bits(width), bits(width)).unwrap();
        }
        let model = calibrated(&config(&[upstream])); // inputs by token
        let names: Vec<String> = model.calibration().tensors.into_keys().collect();
        assert_eq!(names.len(), 8 * 3 * 3); // matrices, widths; scale, zero point and offset
        assert!(names.iter().all(|it| it.contains(".weight.")), "{names:?}");
        assert!(model.weights()[0].bits().is_full() && !model.weights()[0].is_calibrating());
    }
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let run = run(dir.path().join("run"), &corpus, &[weights], &());
    let record = run.run(false).unwrap();
    assert_eq!(run.run(true).unwrap().widths[0].nats_per_token, record.widths[0].nats_per_token);
}

#[test]
fn a_calibration_comes_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    let affine = "quantize.weight={ grid = { kind = \"affine\" } }";
    let mut calibration = calibrated(&config(&[PER_TENSOR, affine])).calibration();
    let odd = vec![f32::MIN_POSITIVE, 1.0 / 3.0, -0.0, 1e-45, f32::MAX];
    calibration.tensors.insert("odd".to_owned(), odd);
    let origin = of_base();
    write(&path, &origin, &calibration).unwrap();
    let found = read(&path, &origin).unwrap();
    let raw = |it: &Calibration| -> Vec<(String, Vec<u32>)> {
        let tensors = it.tensors.iter();
        tensors
            .map(|(name, all)| (name.clone(), all.iter().map(|v| v.to_bits()).collect()))
            .collect()
    };
    assert_eq!((raw(&found), found.settings), (raw(&calibration), calibration.settings));
}

#[test]
fn a_calibration_that_is_none_or_of_another_base_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    let calibration = calibrated(&config(&[])).calibration();
    let origin = of_base();
    write(&path, &origin, &calibration).unwrap();
    let begins = format!("`{}` is no valid calibration: ", path.display());
    let refused = |origin: &Origin| said(read(&path, origin)).split_off(begins.len());
    let more = CalibrationConfig { batches: 5, ..CalibrationConfig::default() };
    let own = CalibrationConfig { upstream: Upstream::OwnWidth, ..CalibrationConfig::default() };
    for other in [
        self::origin(BaseIdentity::Random),
        self::origin(BaseIdentity::of(&changed(), None).unwrap()),
        Origin { seed: 138, ..of_base() },
        Origin { corpus: Sha256Hash([8; 32]), ..of_base() },
        Origin { windows: [16, 4], ..of_base() },
        Origin { calibration: more, ..of_base() },
        Origin { calibration: own, ..of_base() },
    ] {
        let expected = "its scales are of another base, corpus, seed or calibration";
        assert_eq!(refused(&other), expected, "{other:?}");
    }
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(97).chain([8, whole.len() - 1]) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let found = said(read(&path, &origin));
        assert!(found.starts_with(&begins), "{length}: {found}");
    }
    let part = br#"version\":1"#;
    let place = whole.windows(part.len()).position(|it| it == part).unwrap();
    let mut later = whole;
    later[place + part.len() - 1] = b'2';
    std::fs::write(&path, &later).unwrap();
    assert_eq!(refused(&origin), "its version is 2, this program reads 1");
    let none = Vec::<(&str, safetensors::tensor::TensorView<'_>)>::new();
    std::fs::write(&path, safetensors::serialize(none, None).unwrap()).unwrap();
    assert_eq!(refused(&origin), "it has no `sublora.calibration`");
    assert!(said(read(&dir.path().join("missing"), &origin)).starts_with("cannot read `"));
}

/// The base with another weight.
fn changed() -> PlainGpt2 {
    gpt2_model::assign(base(), |name, shape| {
        (name == "ln_f.weight").then(|| vec![2.0; shape.iter().product()])
    })
}

/// The weights of a checkpoint may change, and its path not.
#[test]
fn a_run_does_not_take_the_scales_of_another_base() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let checkpoint = dir.path().join("checkpoint");
    let shape = fixture::spec(16).model;
    gpt2_model::save(&base(), &shape, &checkpoint).unwrap();
    let from = format!("base={{ kind = \"checkpoint\", path = {checkpoint:?} }}");
    let run = run(dir.path().join("run"), &corpus, &[&from], &());
    let record = run.run(false).unwrap();
    assert_ne!(record.base, None::<Sha256Hash>);
    gpt2_model::save(&changed(), &shape, &dir.path().join("other")).unwrap();
    std::fs::remove_dir_all(&checkpoint).unwrap();
    std::fs::rename(dir.path().join("other"), &checkpoint).unwrap();
    let found = said(run.run(true));
    assert!(
        found.ends_with("its scales are of another base, corpus, seed or calibration"),
        "{found}"
    );
    // The rules of a calibration are those of the run, too.
    let mut other = run;
    other.config.quantize.head = true;
    let found = said(other.run(true));
    assert!(found.ends_with("`quantize.head` was false, and is true now"), "{found}");
}
