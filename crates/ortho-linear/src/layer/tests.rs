use burn::tensor::Tolerance;
use counter_rng::Key;

use super::*;
use crate::{IndexWidth, Magnitude, Matrix, Reference, Scope, Selection, Signals, Storage};

const SHAPE: [usize; 2] = [48, 40];

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values
}

/// A matrix in half precision whose largest weights, 5 %, are clipped in the base.
fn split() -> (Reference, Split) {
    let weights = normal(SHAPE[0] * SHAPE[1], 1);
    let weights = Matrix::new(&weights, SHAPE).unwrap();
    let reference = Reference::cast(weights, Storage::F16).unwrap();
    let rule = Magnitude { ratio: 0.05, ..Magnitude::default() };
    let mask = rule.select(&Signals::of(reference.matrix())).unwrap();
    let split = Split::clamp(&reference, &mask, Scope::Matrix, IndexWidth::Auto).unwrap();
    (reference, split)
}

fn layer(device: &Device) -> OrthoLinear {
    let bias = Tensor::from_data(TensorData::new(normal(SHAPE[1], 2), [SHAPE[1]]), device);
    OrthoLinear::new(&split().1, Some(Param::from_tensor(bias)), device)
}

/// `[2, 3, d_in]`.
fn input(device: &Device) -> Tensor<3> {
    Tensor::from_data(TensorData::new(normal(6 * SHAPE[0], 3), [2, 3, SHAPE[0]]), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn alpha(alpha: f32) -> Alpha {
    Alpha::new(alpha).unwrap()
}

#[test]
fn the_stored_layer_at_one_and_the_base_at_zero() {
    let device = Device::default();
    let (layer, x) = (layer(&device), input(&device));
    let (reference, split) = split();
    let x_values = values(x.clone());
    let bias = normal(SHAPE[1], 2);
    for (alpha, weights) in
        [(Alpha::STORED, reference.matrix()), (Alpha::BASE, split.base().matrix())]
    {
        layer.set_alpha(alpha);
        let y = values(layer.forward(x.clone()));
        for (at, &found) in y.iter().enumerate() {
            let (token, out) = (at / SHAPE[1], at % SHAPE[1]);
            // Both streams have terms of the size of the weight at most, each rounded at most once a
            // term and sum: (d_in + 3) u of the sum of magnitudes, u = 2^-24.
            let bias = f64::from(bias[out]);
            let terms = (0..SHAPE[0]).map(|i| {
                let w = weights.values()[i * SHAPE[1] + out];
                f64::from(x_values[token * SHAPE[0] + i]) * f64::from(w)
            });
            let (sum, size) =
                terms.fold((bias, bias.abs()), |(sum, size), it| (sum + it, size + it.abs()));
            let bound = (SHAPE[0] + 3) as f64 * size / f64::from(1 << 24);
            assert!((f64::from(found) - sum).abs() <= bound, "{alpha:?} {at}");
        }
    }
}

#[test]
fn materialised_bits_are_those_of_the_split() {
    let device = Device::default();
    let (layer, x) = (layer(&device), input(&device));
    let (reference, split) = split();
    for alpha in [Alpha::BASE, alpha(0.3), Alpha::STORED] {
        layer.set_alpha(alpha);
        let plain = layer.materialised();
        assert_eq!(values(plain.weight.val()), split.materialise(alpha));
        assert!(!plain.weight.is_require_grad());
    }
    let weight =
        Tensor::from_data(TensorData::new(reference.matrix().values().to_vec(), SHAPE), &device);
    let stored = Linear { weight: Param::from_tensor(weight), bias: layer.base.bias.clone() };
    let found = LinearLayer::forward(&layer.materialised(), x.clone());
    assert_eq!(values(found), values(LinearLayer::forward(&stored, x)));
}

#[test]
fn affine_in_alpha() {
    let device = Device::default();
    let (layer, x) = (layer(&device), input(&device));
    let at = |alpha| {
        layer.set_alpha(alpha);
        values(layer.forward(x.clone()))
    };
    let (base, stored) = (at(Alpha::BASE), at(Alpha::STORED));
    for part in [0.25, 0.5, 0.8] {
        let y = at(alpha(part));
        let norm =
            |of: &dyn Fn(usize) -> f32| (0..y.len()).map(|i| of(i).powi(2)).sum::<f32>().sqrt();
        let error = norm(&|i| (y[i] - base[i]) - part * (stored[i] - base[i]));
        assert!(error <= 1e-6 * norm(&|i| y[i]), "{part}: {error}");
        assert!(error < 1e-5 * norm(&|i| stored[i] - base[i]), "{part}: {error}");
    }
}

#[test]
fn nothing_of_the_outliers_is_read_at_zero() {
    let device = Device::default();
    let mut layer = layer(&device);
    let entries = layer.outliers.as_ref().unwrap().values.dims()[0];
    let nan = Param::from_tensor(Tensor::full([entries], f32::NAN, &device));
    layer.outliers.as_mut().unwrap().values = nan;
    let y = |layer: &OrthoLinear| values(layer.forward(input(&device)));
    assert!(y(&layer).iter().any(|it| it.is_nan()));
    layer.set_privacy(true);
    assert_eq!(y(&layer), values(LinearLayer::forward(&layer.base, input(&device))));
    let x = || input(&device).reshape([6, SHAPE[0]]);
    assert_eq!(layer.factors(x()).len(), 1); // with a bias: what the base says
    layer.set_privacy(false);
    assert_eq!(layer.alpha(), Alpha::STORED);
}

#[test]
fn clones_share_alpha() {
    let layer = layer(&Device::default());
    let clone = layer.clone();
    clone.set_alpha(alpha(0.5));
    assert_eq!(layer.alpha(), alpha(0.5));
}

#[test]
fn a_full_and_an_empty_mask() {
    let device = Device::default();
    let (reference, _) = split();
    for (ratio, has_outliers) in [(0.0, false), (1.0, true)] {
        let rule = Magnitude { ratio, ..Magnitude::default() };
        let mask = rule.select(&Signals::of(reference.matrix())).unwrap();
        let split = Split::extract(&reference, &mask, IndexWidth::Auto).unwrap();
        let layer = OrthoLinear::new(&split, None, &device);
        assert_eq!(layer.outliers.is_some(), has_outliers);
        assert_eq!(values(layer.materialised().weight.val()), reference.matrix().values());
        let (at_one, x) = (values(layer.forward(input(&device))), input(&device));
        layer.set_privacy(true);
        assert_eq!(values(layer.forward(x)) == at_one, !has_outliers);
    }
}

/// Gradients of a loss whose gradient with respect to the output is not constant, by input and outlier.
fn gradients(layer: &OrthoLinear, forward: impl Fn(Tensor<3>) -> Tensor<3>) -> [Vec<f32>; 2] {
    let x = input(&Device::default().autodiff()).require_grad();
    let y = forward(x.clone());
    let gradients = (y.clone() * y).sum().backward();
    assert!(layer.base.weight.val().grad(&gradients).is_none(), "the base is frozen");
    let outliers = &layer.outliers.as_ref().unwrap().values;
    let outliers = outliers.val().grad(&gradients).map(values).unwrap_or_default();
    [values(x.grad(&gradients).unwrap()), outliers]
}

fn assert_close(found: &[f32], expected: &[f32]) {
    let data = |it: &[f32]| TensorData::new(it.to_vec(), [it.len()]);
    data(found).assert_approx_eq::<f32>(&data(expected), Tolerance::rel_abs(1e-5, 1e-4));
}

#[test]
fn gradients_through_both_streams() {
    let device = Device::default().autodiff();
    let layer = layer(&device).train_outliers();
    let pattern = layer.outliers.as_ref().unwrap().pattern.clone();
    for part in [1.0, 0.4] {
        layer.set_alpha(alpha(part));
        let [dx, d_outliers] = gradients(&layer, |x| layer.forward(x));
        // The dense layer of the same weights, all of them trained.
        let mut dense = layer.materialised();
        dense.weight = dense.weight.set_require_grad(true);
        let x = input(&device).require_grad();
        let y = LinearLayer::forward(&dense, x.clone());
        let expected = (y.clone() * y).sum().backward();
        assert_close(&dx, &values(x.grad(&expected).unwrap()));
        let dw = values(dense.weight.val().grad(&expected).unwrap());
        let on_mask = pattern.places().map(|[i, out]| part * dw[i * SHAPE[1] + out]);
        assert_close(&d_outliers, &on_mask.collect::<Vec<_>>());
        assert!(d_outliers.iter().any(|it| it.abs() > 1.0));
    }
    layer.set_alpha(Alpha::BASE);
    let [dx, d_outliers] = gradients(&layer, |x| layer.forward(x));
    assert_eq!((dx.len(), d_outliers.len()), (6 * SHAPE[0], 0));
}

#[test]
fn a_gradient_that_nobody_asks_for_is_none() {
    let layer = layer(&Device::default().autodiff());
    let [dx, d_outliers] = gradients(&layer, |x| layer.forward(x));
    assert_eq!((dx.len(), d_outliers.len()), (6 * SHAPE[0], 0));
    // Of the outliers alone.
    let layer = layer.train_outliers();
    let y = layer.forward(input(&Device::default().autodiff()));
    let gradients = y.sum().backward();
    let outliers = layer.outliers.as_ref().unwrap().values.val().grad(&gradients).unwrap();
    assert_eq!(outliers.dims(), layer.outliers.as_ref().unwrap().values.dims());
}

#[test]
fn the_dense_path_computes_the_same() {
    let device = Device::default().autodiff();
    let layer = layer(&device).train_outliers();
    for part in [1.0, 0.4] {
        layer.set_alpha(alpha(part));
        let dense = |x: Tensor<3>| {
            let (outliers, alpha) = layer.active().unwrap();
            let x = x.reshape([6, SHAPE[0]]);
            layer.dense_product(x, outliers, alpha).reshape([2, 3, SHAPE[1]])
        };
        assert_close(&values(layer.forward(input(&device))), &values(dense(input(&device))));
        let (host, portable) = (gradients(&layer, |x| layer.forward(x)), gradients(&layer, dense));
        for (host, portable) in host.iter().zip(&portable) {
            assert!(!host.is_empty());
            assert_close(host, portable);
        }
    }
}

#[cfg(feature = "flex")]
#[test]
fn views_of_tensors() {
    let device = Device::flex();
    let layer = layer(&device);
    let x = input(&device).reshape([6, SHAPE[0]]);
    let expected = values(layer.rows(x.clone()));
    let transposed = x.clone().transpose().reshape([SHAPE[0], 6]); // copied
    assert_eq!(values(layer.rows(transposed.transpose())), expected);
    let last = values(layer.rows(x.clone().narrow(0, 5, 1)));
    assert_eq!(last.len(), SHAPE[1]);

    // An output that somebody else holds, or that is a part of another, is not written to.
    let outliers = layer.outliers.as_ref().unwrap();
    let add = |y: Tensor<2>| {
        let operand = Operand { pattern: outliers.pattern.clone(), alpha: Alpha::STORED };
        operand.add_to(y, x.clone(), outliers.values.val())
    };
    let whole = Tensor::<2>::zeros([7, SHAPE[1]], &device);
    let sums = values(add(Tensor::zeros([6, SHAPE[1]], &device)));
    assert!(sums.iter().any(|&it| it != 0.0));
    let held = Tensor::<2>::zeros([6, SHAPE[1]], &device);
    assert_eq!(values(add(held.clone())), sums);
    assert_eq!(values(add(whole.clone().narrow(0, 1, 6))), sums);
    assert_eq!(values(add(whole.clone().narrow(0, 0, 6))), sums);
    assert!(values(held).iter().chain(&values(whole)).all(|&it| it == 0.0));
}
