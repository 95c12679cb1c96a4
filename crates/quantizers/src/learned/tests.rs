use Integers::{Symmetric, TwosComplement};

use super::*;
use crate::{Binary, BitWidth, Grid, Integers, Lsq, LsqPlus, Pact, Seq, Ternary};

fn codes(grid: &dyn Grid, bits: u8) -> Codes {
    grid.codes(BitWidth::new(bits).unwrap()).unwrap()
}

fn lsq(integers: Integers, bits: u8) -> Codes {
    codes(&Lsq { integers }, bits)
}

fn integers(min: i32, max: i32, mask: Mask) -> Codes {
    Codes::new(Levels::Integers { min, max }, mask)
}

/// The gradients of one value under a scale of 1 and a gradient of 1.
fn single(codes: &Codes, rule: ScaleRule, u: f32) -> (f32, f64, f64) {
    let found = Gradients::new(codes, &Params::scale(1.0), rule, &[u], &[1.0]).unwrap();
    (found.input[0], found.scale, found.offset)
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
}

#[test]
fn learnable_fake_quantisation_of_pytorch() {
    // >>> x = torch.tensor([-10, -.23, .31, .5, 9], requires_grad=True)
    // >>> s, z = (torch.tensor([it], requires_grad=True) for it in (.1, 3.))
    // >>> y = torch._fake_quantize_learnable_per_tensor_affine(x, s, z, -8, 7, 1.)
    // >>> y.backward(torch.tensor([1., 2, 3, 4, 5])); x.grad, s.grad, z.grad
    // ([0, 2, 3, 0, 0], 25.3, -1.0)
    // ds = 1 (-8 - 3) + 2 (-2 + 2.3) + 3 (3 - 3.1) + 4 (7 - 3) + 5 (7 - 3); dz = -.1 (1 + 4 + 5)
    let codes = integers(-8, 7, Mask::Rounded);
    let params = Params::learned(0.1, 3.0, &codes).unwrap();
    let x = [-10.0, -0.23, 0.31, 0.5, 9.0];
    let found =
        Gradients::new(&codes, &params, ScaleRule::Rounding, &x, &[1.0, 2.0, 3.0, 4.0, 5.0])
            .unwrap();
    assert_eq!(found.input, [0.0, 2.0, 3.0, 0.0, 0.0]);
    assert_close(found.scale, 25.3, 1e-6);
    assert_close(found.zero_point, -1.0, 1e-7);
    let half = found.clone().scaled(0.5);
    assert_eq!(half.input, found.input);
    assert_close(half.scale, 12.65, 1e-6);
    assert_close(half.zero_point, -0.5, 1e-7);
}

#[test]
fn a_learned_zero_point_is_rounded_once_and_a_learned_scale_never_zero() {
    let codes = integers(-8, 7, Mask::Rounded);
    let zero_point = |z| Params::learned(0.1, z, &codes).unwrap().zero_point;
    assert_eq!([2.5, 3.5, -2.3, -2.6, 9.0, -20.0].map(zero_point), [2, 4, -2, -3, 7, -8]);
    let scale = |s| Params::learned(s, 0.0, &codes).unwrap().scale;
    let least = 2.0_f32.powi(-126);
    assert_eq!([0.5, 1e-9, 1e-40, 0.0, -3.0].map(scale), [0.5, 1e-9, least, least, least]);
    let error = |s, z| Params::learned(s, z, &codes).unwrap_err().to_string();
    assert_eq!(error(f32::NAN, 0.0), "`scale` is NaN, expected a finite number");
    assert_eq!(error(1.0, f32::INFINITY), "`zero_point` is inf, expected a finite number");
}

#[test]
fn lsq_of_single_values() {
    let [symmetric, twos_complement] = [Symmetric, TwosComplement].map(|it| lsq(it, 4));
    let (dv, ds, _) = single(&symmetric, ScaleRule::Rounding, 2.3);
    assert_eq!(dv, 1.0);
    assert_close(ds, -0.3, 1e-7);
    assert_eq!(single(&symmetric, ScaleRule::Rounding, 9.0), (0.0, 7.0, 1.0));
    assert_eq!(single(&twos_complement, ScaleRule::Rounding, -9.0), (0.0, -8.0, 1.0));
    // The rule is on u, not on its rounded code, which is still 7.
    assert_eq!(single(&symmetric, ScaleRule::Rounding, 7.25), (0.0, 7.0, 1.0));
}

#[test]
fn the_two_conventions_of_lsq_differ_at_the_ends_alone() {
    let exclusive = integers(-7, 7, Mask::exclusive(-7.0, 7.0));
    for end in [-7.0, 7.0] {
        assert_eq!(single(&lsq(Symmetric, 4), ScaleRule::Rounding, end), (1.0, 0.0, 0.0));
        let paper = single(&exclusive, ScaleRule::Rounding, end);
        assert_eq!(paper, (0.0, f64::from(end), 1.0));
    }
    for u in [-9.0, -6.999_999, 0.5, 6.999_999, 7.000_001] {
        let found =
            [lsq(Symmetric, 4), exclusive.clone()].map(|it| single(&it, ScaleRule::Rounding, u));
        assert_eq!(found[0], found[1], "{u}");
    }
}

#[test]
fn the_offset_of_lsq_plus_moves_what_is_clipped() {
    // u = (x - .5)/.25 = -20, -1.2, 2, 20
    let params = Params { scale: 0.25, zero_point: 0, offset: 0.5 };
    let (x, g) = ([-4.5, 0.2, 1.0, 5.5], [1.0, 10.0, 100.0, 1_000.0]);
    let found =
        Gradients::new(&codes(&LsqPlus {}, 4), &params, ScaleRule::Rounding, &x, &g).unwrap();
    assert_eq!(found.input, [0.0, 10.0, 100.0, 0.0]);
    assert_eq!(found.offset, 1_001.0);
    assert_close(found.scale, -8.0 + 10.0 * 0.2 + 7_000.0, 1e-6);
    let factor = gradient_factor(768 * 3_072, 7.0);
    assert_close(factor, 2.460_7e-4, 1e-9); // 1/sqrt(16 515 072) = 1/4 063.87
    assert_close(found.scaled(factor).offset, 1_001.0 * factor, 1e-12);
}

#[test]
fn pact_learns_from_what_is_clipped_above() {
    // Four bits, alpha = 7.5: s = .5; d alpha = ds/15.
    let codes = codes(&Pact {}, 4);
    let x = [-1.0, -0.1, 0.0, 0.3, 7.4, 7.499_999, 7.5, 9.0];
    let g = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let params = Params::scale(0.5);
    let quantized = x.map(|x| codes.quantize(x, &params));
    assert_eq!(quantized, [0.0, 0.0, 0.0, 0.5, 7.5, 7.5, 7.5, 7.5]);
    let rule = codes.rule;
    let found = Gradients::new(&codes, &params, rule, &x, &g).unwrap();
    assert_eq!(found.input, [0.0, 0.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
    assert_close(found.scaled(15_f64.recip()).scale, 7.0 + 8.0, 1e-12);
}

#[test]
fn stretched_elastic_ternary_and_binary() {
    let u = [-1.2, -0.99, -0.6, 0.1, 0.5, 0.995];
    let at_2_bits = [-0.75, 0.24, -0.15, 0.15, -0.25, 0.75]; // f(u) - u but at the ends
    let at_3_levels = [-0.666_667, 0.323_333, -0.066_667, -0.1, 0.166_667, 0.666_667];
    for (codes, expected) in [(codes(&Seq {}, 2), at_2_bits), (codes(&Ternary {}, 2), at_3_levels)]
    {
        for (u, expected) in u.into_iter().zip(expected) {
            let (dw, d_alpha, _) = single(&codes, ScaleRule::Rounding, u);
            assert_eq!(dw, if u.abs() <= 0.99 { 1.0 } else { 0.0 }, "{u}");
            assert_close(d_alpha, expected, 1e-6);
        }
    }
    let binary = codes(&Binary {}, 1);
    for (u, expected) in [(-1.5, (0.0, -1.0)), (-1.0, (1.0, -1.0)), (0.2, (1.0, 1.0))] {
        let (dw, d_alpha, _) = single(&binary, binary.rule, u);
        assert_eq!((dw, d_alpha), expected, "{u}");
    }
    assert_close(gradient_factor(64, 1.0), 0.125, 1e-15);
}

/// Density of a unit Gaussian on the midpoints of cells of width 2^-11 from -8 to 8: the mean of a
/// function is its sum with these weights.
fn gaussian() -> (Vec<f32>, Vec<f64>) {
    let cells = 16 * 2_048;
    let at = |cell: i32| (f64::from(cell) + 0.5) / 2_048.0 - 8.0;
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt() / 2_048.0;
    (0..cells).map(|cell| (at(cell) as f32, density(at(cell)))).unzip()
}

#[test]
fn gradient_descent_settles_where_the_gradient_of_lsq_vanishes() {
    let (values, weights) = gaussian();
    let mean_magnitude: f64 =
        values.iter().zip(&weights).map(|(x, w)| f64::from(x.abs()) * w).sum();
    for (codes, (start, decibels_there), (stationary, decibels)) in [
        (lsq(Symmetric, 2), (1.5958, 6.39), (1.3039, 7.16)),
        (lsq(Symmetric, 3), (0.9213, 11.46), (0.6623, 13.29)),
        (lsq(Symmetric, 4), (0.6031, 15.18), (0.3552, 18.90)),
        (lsq(TwosComplement, 4), (0.6031, 15.18), (0.3402, 19.26)),
        (lsq(Symmetric, 8), (0.1416, 27.77), (0.0309, 40.54)),
    ] {
        let Levels::Integers { max, .. } = codes.levels else { unreachable!() };
        let mut scale = 2.0 * mean_magnitude / f64::from(max).sqrt(); // the paper's first
        assert_close(scale, start, 1e-4);
        let mut errors = Vec::new();
        for _ in 0..300 {
            // Half the mean squared error, E (v_hat - v)^2 / 2, has gradient w (v_hat - v) at v_hat.
            let params = Params::scale(scale as f32);
            let difference = |&x: &f32| f64::from(codes.quantize(x, &params) - x);
            let pairs = || values.iter().map(difference).zip(&weights);
            let output: Vec<f32> = pairs().map(|(it, w)| (it * w) as f32).collect();
            let rule = ScaleRule::Rounding;
            scale -= 0.5 * Gradients::new(&codes, &params, rule, &values, &output).unwrap().scale;
            errors.push(pairs().map(|(it, w)| it * it * w).sum::<f64>());
        }
        assert_close(scale, stationary, 1e-4);
        let decibels_at = |step: usize| -10.0 * errors[step].log10();
        assert_close(decibels_at(0), decibels_there, 0.01);
        assert_close(decibels_at(299), decibels, 0.01);
    }
}

#[test]
fn gradients_are_the_derivatives_of_the_surrogate() {
    // The rounding error inside the mask and the level outside are held; what is left is
    // differentiable: x_hat = s (u + held) + o inside, s held + o outside.
    let codes = lsq(TwosComplement, 4);
    let params = Params { scale: 0.3, zero_point: 0, offset: 0.125 };
    let values: Vec<f32> = (0..200).map(|i| (i as f32 - 100.0) * 0.037).collect();
    let output: Vec<f32> = (0..200).map(|i| (i as f32 * 0.7).sin()).collect();
    let [s, o] = [params.scale, params.offset].map(f64::from);
    let units = Params::scale(1.0);
    let held = |x: f32| {
        let level = f64::from(codes.value(codes.code(x, &params), &units));
        if codes.passes(x, &params) { (1.0, level - (f64::from(x) - o) / s) } else { (0.0, level) }
    };
    let loss = |ds: f64, d_o: f64| -> f64 {
        let one = |(&x, &g): (&f32, &f32)| {
            let (inside, held) = held(x);
            let (s, o) = (s + ds, o + d_o);
            f64::from(g) * (s * (inside * (f64::from(x) - o) / s + held) + o)
        };
        values.iter().zip(&output).map(one).sum()
    };
    let found = Gradients::new(&codes, &params, ScaleRule::Rounding, &values, &output).unwrap();
    let h = 1e-4;
    assert_close((loss(h, 0.0) - loss(-h, 0.0)) / (2.0 * h), found.scale, 1e-8);
    assert_close((loss(0.0, h) - loss(0.0, -h)) / (2.0 * h), found.offset, 1e-8);
    assert!(found.scale.abs() > 0.1 && found.offset.abs() > 0.1, "{found:?}");
}

#[test]
fn extreme_groups_have_finite_gradients() {
    let codes = lsq(Symmetric, 4);
    for x in [0.0, 1e-40, -1e30, f32::MAX] {
        for scale in [f32::MIN_POSITIVE, f32::MAX / 7.0] {
            let params = Params { scale, zero_point: 0, offset: -x };
            for rule in [ScaleRule::Rounding, ScaleRule::Level, ScaleRule::Clipping] {
                let found =
                    Gradients::new(&codes, &params, rule, &[x; 3], &[1.0, -2.0, 0.5]).unwrap();
                assert!(found.scale.is_finite() && found.offset.is_finite(), "{x}: {found:?}");
            }
        }
    }
    let params = Params::scale(1.0);
    for wrong in [f32::NAN, f32::INFINITY] {
        let error = Gradients::new(&codes, &params, ScaleRule::Level, &[0.0, wrong], &[1.0; 2]);
        assert!(matches!(error, Err(QuantizerError::NotFinite { index: 1, .. })), "{error:?}");
    }
}
