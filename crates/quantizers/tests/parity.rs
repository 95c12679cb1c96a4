//! Parity with PyTorch: values, gradients, and the scales of its observers.
//!
//! The fixture is written by `scripts/generate_fake_quantize_fixtures.py` (torch 2.15.0), which says
//! what is in it:
//!
//! ```text
//! uv run scripts/generate_fake_quantize_fixtures.py
//! ```
//!
//! Tolerance: 1e-6 of the number, for values of the largest one. PyTorch multiplies by the reciprocal of
//! the scale where we divide; a code may differ by one step where $x/s$ is within an ulp of a tie.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "codes and widths are small integers in f32"
)]
#![expect(clippy::float_cmp, reason = "a masked gradient is the gradient or zero")]

use std::collections::BTreeMap;
use std::path::Path;

use quantizers::{
    Affine, AnyGrid, BitWidth, Codes, Gradients, Granularity, Grid, Levels, Mask, MinMax, Pact,
    Params, Quantizer, Range, ScaleRule, Scheme, Seq, Signedness, Symmetric, Ternary, dorefa,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

const TOLERANCE: f64 = 1e-6;

/// The fields of one case: shape and values.
type Case = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// The cases of a kind, in order; at least one.
fn cases(kind: &str) -> Vec<Case> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fake_quantize.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let mut cases: BTreeMap<usize, Case> = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let parts: Vec<&str> = name.split('.').collect();
        if parts[0] == kind {
            let case = cases.entry(parts[1].parse().unwrap()).or_default();
            case.insert(parts[2].to_owned(), (view.shape().to_vec(), values(&view)));
        }
    }
    assert!(!cases.is_empty(), "{kind}");
    cases.into_values().collect()
}

fn values(view: &TensorView<'_>) -> Vec<f64> {
    match view.dtype() {
        Dtype::F64 => view.data().as_chunks().0.iter().map(|it| f64::from_le_bytes(*it)).collect(),
        Dtype::F32 => {
            view.data().as_chunks().0.iter().map(|it| f32::from_le_bytes(*it).into()).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn single(case: &Case, field: &str) -> Vec<f32> {
    case[field].1.iter().map(|&it| it as f32).collect()
}

fn integers(min: f64, max: f64, mask: Mask) -> Codes {
    Codes::new(Levels::Integers { min: min as i32, max: max as i32 }, mask)
}

#[track_caller]
fn assert_close(what: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() <= TOLERANCE * expected.abs(), "{what}: {found}, {expected}");
}

/// One value and its gradient against PyTorch's; `largest` is the scale of the tolerance.
#[track_caller]
fn assert_value(codes: &Codes, params: &Params, x: f32, g: f32, y: f32, dx: f32, largest: f32) {
    let found = codes.quantize(x, params);
    let masked = if codes.passes(x, params) { g } else { 0.0 };
    let tolerance = TOLERANCE * f64::from(largest);
    if (f64::from(found) - f64::from(y)).abs() <= tolerance && masked == dx {
        return;
    }
    let u = f64::from(x) / f64::from(params.scale);
    let from_tie = (u - u.floor() - 0.5).abs();
    assert!(
        from_tie <= u.abs() * f64::from(f32::EPSILON),
        "{x}: {found} and {masked}, {y} and {dx}"
    );
    let apart = (f64::from(found) - f64::from(y)).abs() - f64::from(params.scale);
    assert!(found == y || apart.abs() <= tolerance, "{x}: {found}, {y}");
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |all, it| all.max(it.abs()))
}

#[track_caller]
fn assert_values(codes: &Codes, params: &Params, case: &Case) {
    let [x, g, y, dx] = ["x", "g", "y", "dx"].map(|field| single(case, field));
    let largest = largest(&y);
    for (place, &x) in x.iter().enumerate() {
        assert_value(codes, params, x, g[place], y[place], dx[place], largest);
    }
}

/// Values and the gradients of the values, and the others for the caller to compare.
#[track_caller]
fn gradients(codes: &Codes, params: &Params, rule: ScaleRule, case: &Case) -> Gradients {
    assert_values(codes, params, case);
    let [x, g, dx] = ["x", "g", "dx"].map(|field| single(case, field));
    let found = Gradients::new(codes, params, rule, &x, &g).unwrap();
    assert_eq!(found.input, dx);
    found
}

#[test]
fn fake_quantize_per_tensor_affine() {
    for case in cases("tensor") {
        let [scale, zero_point, min, max] = case["params"].1[..] else { panic!() };
        let (scale, zero_point) = (scale as f32, zero_point as i32);
        let params = Params { scale, zero_point, offset: 0.0 };
        assert_values(&integers(min, max, Mask::Rounded), &params, &case);
    }
}

#[test]
fn fake_quantize_per_channel_affine() {
    let grids: [(AnyGrid, u8); 2] = [(Symmetric {}.into(), 4), (Affine::default().into(), 8)];
    let cases = cases("channel");
    assert_eq!(cases.len(), grids.len());
    for (case, (grid, bits)) in cases.into_iter().zip(grids) {
        let [rows, channels] = case["x"].0[..] else { panic!() };
        let [x, g, y, dx] = ["x", "g", "y", "dx"].map(|field| single(&case, field));
        let row = |row: usize| case["params"].1[row * channels..][..channels].iter();
        let params: Vec<Params> = row(0)
            .zip(row(1))
            .map(|(&s, &z)| Params { scale: s as f32, zero_point: z as i32, offset: 0.0 })
            .collect();
        let bits = BitWidth::new(bits).unwrap();
        let codes = grid.as_dyn().codes(bits).unwrap();
        let ends = [row(2), row(3)].map(|mut it| *it.next().unwrap());
        assert_eq!(codes.levels, integers(ends[0], ends[1], Mask::Rounded).levels);

        let granularity = Granularity::Channel { axis: 1 };
        let quantizer = Quantizer { bits, grid, granularity, ..Quantizer::default() };
        let mut quantized = vec![0.0; x.len()];
        quantizer.fake_quantize_into(&x, [rows, channels], &params, &mut quantized).unwrap();
        for (place, &x) in x.iter().enumerate() {
            let (params, [g, y, dx]) =
                (&params[place % channels], [&g, &y, &dx].map(|it| it[place]));
            assert_value(&codes, params, x, g, y, dx, y.abs());
            assert_eq!(codes.quantize(x, params), quantized[place]);
        }
    }
}

#[test]
fn fake_quantize_learnable_per_tensor_affine() {
    for case in cases("learnable") {
        let [scale, zero_point, min, max, factor] = case["params"].1[..] else { panic!() };
        let codes = integers(min, max, Mask::Rounded);
        let params = Params::learned(scale as f32, zero_point as f32, &codes).unwrap();
        let found = gradients(&codes, &params, ScaleRule::Rounding, &case).scaled(factor);
        assert_close("ds", found.scale, case["ds"].1[0]);
        assert_close("dz", found.zero_point, case["dz"].1[0]);
    }
}

#[test]
fn fake_quantize_learnable_per_channel_affine() {
    let grids: [AnyGrid; 2] = [Symmetric {}.into(), Affine::default().into()];
    for (case, grid) in cases("channels").into_iter().zip(grids) {
        let [rows, channels] = case["x"].0[..] else { panic!() };
        let [x, g, y, dx] = ["x", "g", "y", "dx"].map(|field| single(&case, field));
        let row = |row: usize| &case["params"].1[row * channels..][..channels];
        let quantizer = Quantizer { bits: BitWidth::new(4).unwrap(), grid, ..Quantizer::default() };
        let codes = quantizer.grid.as_dyn().codes(quantizer.bits).unwrap();
        assert_eq!(codes.levels, integers(row(2)[0], row(3)[0], Mask::Rounded).levels);
        let learned = |(&s, &z)| Params::learned(s as f32, z as f32, &codes).unwrap();
        let params: Vec<Params> = row(0).iter().zip(row(1)).map(learned).collect();
        for (place, &x) in x.iter().enumerate() {
            let params = &params[place % channels];
            assert_value(&codes, params, x, g[place], y[place], dx[place], y[place].abs());
        }
        let found = quantizer.gradients(&x, [rows, channels], &params, ScaleRule::Rounding, &g);
        let found = found.unwrap().scaled(row(4)[0]);
        assert_eq!(found.input, dx);
        for channel in 0..channels {
            assert_close("ds", found.scale[channel], case["ds"].1[channel]);
            assert_close("dz", found.zero_point[channel], case["dz"].1[channel]);
        }
    }
}

#[test]
fn dorefa_weights() {
    for case in cases("dorefa") {
        let bits = BitWidth::new(case["params"].1[0] as u8).unwrap();
        let [x, g, y, dx] = ["x", "g", "y", "dx"].map(|field| single(&case, field));
        let found = [dorefa::quantize(&x, bits).unwrap(), dorefa::gradient(&x, bits, &g).unwrap()];
        for (found, expected) in found.iter().zip([y, dx]) {
            for (found, expected) in found.iter().zip(&expected) {
                let bound = TOLERANCE * f64::from(largest(&[*expected, 1.0]));
                let error = (f64::from(*found) - f64::from(*expected)).abs();
                assert!(error <= bound, "{bits}: {found}, {expected}");
            }
        }
    }
}

#[test]
fn lsq_and_its_offset() {
    for case in cases("lsq") {
        let [scale, offset, min, max, ends_inside] = case["params"].1[..] else { panic!() };
        let mask = if ends_inside == 1.0 { Mask::Between } else { Mask::exclusive };
        let codes = integers(min, max, mask(min as f32, max as f32));
        let params = Params { offset: offset as f32, ..Params::scale(scale as f32) };
        let found = gradients(&codes, &params, ScaleRule::Rounding, &case);
        assert_close("ds", found.scale, case["ds"].1[0]);
        assert_close("do", found.offset, case["do"].1[0]);
    }
}

#[test]
fn pact() {
    for case in cases("pact") {
        let [alpha, bits] = case["params"].1[..] else { panic!() };
        let codes = Pact {}.codes(BitWidth::new(bits as u8).unwrap()).unwrap();
        let greatest = bits.exp2() - 1.0;
        let params = Params::scale((alpha / greatest) as f32);
        let found = gradients(&codes, &params, codes.rule, &case);
        assert_close("d alpha", found.scaled(1.0 / greatest).scale, case["ds"].1[0]);
    }
}

#[test]
fn stretched_elastic_and_ternary() {
    for case in cases("elastic") {
        let [alpha, levels] = case["params"].1[..] else { panic!() };
        let grid: &dyn Grid = if levels == 3.0 { &Ternary {} } else { &Seq {} };
        let bits = BitWidth::new(levels.log2().ceil() as u8).unwrap();
        let codes = grid.codes(bits).unwrap();
        assert_eq!(codes.count(), levels as usize);
        let params = Params::scale(alpha as f32);
        let found = gradients(&codes, &params, ScaleRule::Rounding, &case);
        assert_close("d alpha", found.scale, case["ds"].1[0]);
    }
}

fn min_max(x: &[f32], grid: &dyn Grid, bits: u8) -> [f32; 2] {
    let mut observer = MinMax {}.observer();
    observer.observe(x).unwrap();
    let params = observer.fit(grid, BitWidth::new(bits).unwrap()).unwrap();
    [params.scale, params.zero_point as f32]
}

#[test]
fn scales_of_the_observers_are_equal_in_every_bit() {
    let affine = |codes, scheme| AnyGrid::from(Affine { codes, scheme });
    let grids = [
        ("affine", affine(Signedness::Unsigned, Scheme::Affine)),
        ("unsigned", affine(Signedness::Unsigned, Scheme::Symmetric)),
        ("signed", affine(Signedness::Signed, Scheme::Affine)),
        ("both", affine(Signedness::Signed, Scheme::Symmetric)),
        ("symmetric", Symmetric {}.into()),
    ];
    let mut compared = 0;
    for case in cases("observer") {
        let x = single(&case, "x");
        for ((name, grid), bits) in grids.iter().flat_map(|grid| [(grid, 8), (grid, 4)]) {
            let field = format!("{name}{bits}");
            let Some((shape, _)) = case.get(&field) else { continue };
            let expected = single(&case, &field);
            let channels = if shape.len() == 2 { shape[1] } else { 1 };
            for channel in 0..channels {
                let x: Vec<f32> = x.iter().skip(channel).step_by(channels).copied().collect();
                let expected = [expected[channel], expected[channels + channel]];
                let found = min_max(&x, grid.as_dyn(), bits);
                assert_eq!(found, expected, "{field} of {x:?}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 5 * (5 * 2 + 2 + 5));
}
