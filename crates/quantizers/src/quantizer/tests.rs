use counter_rng::Key;

use super::*;
use crate::grid_conformance::{grids, has_floor};
use crate::{Affine, AnyRange, Grid, Levels, Lsq, Nf4, Percentile, Range};

fn width(bits: u8) -> BitWidth {
    BitWidth::new(bits).unwrap()
}

/// Normal values, ties of steps of a quarter, and the borders of NF4 with their neighbours.
fn awkward(len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(9).fill_normal(0, &mut values);
    let levels = Nf4 {}.codes(width(4)).unwrap();
    let Levels::Table(levels) = levels.levels else { unreachable!() };
    let borders = levels.windows(2).map(|it| f32::midpoint(it[0], it[1]));
    let ties = (-80_i8..80).map(|k| f32::from(k) / 8.0);
    let special = borders.chain(ties).flat_map(|x| [x.next_down(), x, x.next_up()]);
    let extreme = [-0.0, 1e-45, 1e30, -1e30, f32::MAX, f32::MIN];
    for (value, special) in values.iter_mut().skip(1).step_by(2).zip(special.chain(extreme)) {
        *value = special;
    }
    values
}

#[test]
fn the_loops_give_the_bits_of_one_value_at_a_time() {
    let values = awkward(1_400);
    for grid in grids() {
        for bits in [1, 2, 3, 4, 5, 8, 16] {
            let Ok(codes) = grid.as_dyn().codes(width(bits)) else { continue };
            for (granularity, operand, shape) in [
                ("tensor", Operand::Weight, [1_400, 1]),
                ("channel", Operand::Weight, [20, 70]),
                ("group:7", Operand::Weight, [28, 50]),
                ("group:33:pad", Operand::Activation, [20, 70]),
                ("token", Operand::Activation, [35, 40]),
            ] {
                let quantizer = Quantizer {
                    bits: width(bits),
                    granularity: granularity.parse().unwrap(),
                    operand,
                    grid: grid.clone(),
                    ..Quantizer::default()
                };
                let groups = quantizer.groups(shape).unwrap();
                let has_zero_point = matches!(codes.levels, Levels::Integers { .. });
                for shift in [0.0, 1.0] {
                    let params: Vec<Params> = (0..groups.count())
                        .map(|group| Params {
                            scale: [0.25, 1.0, 0.3, 1e-3][group % 4],
                            zero_point: if shift > 0.0 && has_zero_point && group % 2 == 1 {
                                1.min(codes.ends().1)
                            } else {
                                0
                            },
                            offset: shift * [0.1, -3.0, 0.0][group % 3],
                        })
                        .collect();
                    let mut out = vec![f32::NAN; values.len()];
                    quantizer.fake_quantize_into(&values, shape, &params, &mut out).unwrap();
                    let coded = quantizer.codes(&values, shape, &params).unwrap();
                    for (index, &x) in values.iter().enumerate() {
                        let params = &params[groups.group(index)];
                        let expected = codes.quantize(x, params);
                        let name = grid.name();
                        assert!(
                            out[index].to_bits() == expected.to_bits(),
                            "{name} {bits}, {granularity}: {x} is {} not {expected}, {params:?}",
                            out[index]
                        );
                        assert_eq!(coded[index], codes.code(x, params));
                    }
                }
            }
        }
    }
}

#[test]
fn one_pass_of_extremes_is_what_the_observers_see() {
    let mut values = vec![0.0; 90_000];
    Key::from_seed(4).fill_normal(0, &mut values);
    values[5_000] = -0.0;
    for (granularity, operand, shape) in [
        ("tensor", Operand::Weight, [300, 300]),
        ("channel", Operand::Weight, [300, 300]),
        ("channel", Operand::Weight, [11, 8_181]), // more columns than a strip
        ("channel", Operand::Weight, [89_989, 1]),
        ("group:7:pad", Operand::Weight, [300, 300]),
        ("group:7:pad", Operand::Activation, [300, 300]),
        ("token", Operand::Activation, [300, 300]),
        ("channel:0", Operand::TransposedWeight, [1, 90_000]),
    ] {
        let values = &values[..shape[0] * shape[1]];
        let quantizer = Quantizer {
            granularity: granularity.parse().unwrap(),
            operand,
            grid: Affine::default().into(),
            ..Quantizer::default()
        };
        let fitted = quantizer.fit(values, shape).unwrap();
        let observed = quantizer.groups(shape).unwrap().map(values, |_, values| {
            let mut observer = MinMax {}.observer();
            observer.observe(values).unwrap();
            observer.fit(&Affine::default(), quantizer.bits).unwrap()
        });
        assert_eq!(fitted, observed, "{granularity} of {operand}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut values = vec![0.0; 400 * 700];
    Key::from_seed(4).fill_normal(0, &mut values);
    for (granularity, operand) in [
        ("tensor", Operand::Weight),
        ("channel", Operand::Weight),
        ("group:100", Operand::Weight),
        ("token", Operand::Activation),
    ] {
        let range = AnyRange::from(Percentile::default());
        for range in [MinMax {}.into(), range] {
            let quantizer = Quantizer {
                granularity: granularity.parse().unwrap(),
                operand,
                range,
                ..Quantizer::default()
            };
            let [one, four] = [1, 4].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let params = quantizer.fit(&values, [400, 700]).unwrap();
                    let mut out = vec![0.0; values.len()];
                    quantizer.fake_quantize_into(&values, [400, 700], &params, &mut out).unwrap();
                    (params, out)
                })
            });
            assert!(one == four, "{granularity}");
        }
    }
}

#[test]
fn affine_of_pytorch_per_channel() {
    // [[1, -2], [-3, .5]] with codes of +-127 and axis 1: s = 3/127, 2/127.
    let params = Quantizer::default().fit(&[1.0, -2.0, -3.0, 0.5], [2, 2]).unwrap();
    assert_eq!(params, [Params::scale(3.0 / 127.0), Params::scale(2.0 / 127.0)]);
}

#[test]
fn values_of_1e_9_lose_what_those_of_1_lose() {
    let mut values = vec![0.0; 64 * 64];
    Key::from_seed(3).fill_normal(0, &mut values);
    let small: Vec<f32> = values.iter().map(|x| 1e-9 * x).collect();
    for grid in grids() {
        for bits in [1, 2, 4, 8].map(width) {
            let Ok(codes) = grid.as_dyn().codes(bits) else { continue };
            if has_floor(&grid, bits) {
                continue; // whose least scale is PyTorch's
            }
            let quantizer = Quantizer { bits, grid: grid.clone(), ..Quantizer::default() };
            let sqnr = |values: &[f32]| {
                let params = quantizer.fit(values, [64, 64]).unwrap();
                quantizer.distortion(values, [64, 64], &params).unwrap().sqnr_db
            };
            let [expected, found] = [sqnr(&values), sqnr(&small)];
            // Logarithms round the scale, which moves with the logarithm of 1e-9.
            let tolerance = if matches!(codes.levels, Levels::Logarithms(_)) { 2.0 } else { 0.02 };
            let what = format!("{} of {bits} bits: {found}, {expected} dB", grid.name());
            assert!((found - expected).abs() < tolerance, "{what}");
        }
    }
}

#[test]
fn levels_that_f32_cannot_hold_are_refused() {
    // -8 s is below the least f32 where s = max / 7.
    let quantizer =
        Quantizer { bits: width(4), grid: Lsq::default().into(), ..Quantizer::default() };
    let error = quantizer.fit(&[0.0, 3.4e38], [1, 2]).unwrap_err();
    assert!(matches!(error, QuantizerError::Params { group: 1, .. }), "{error}");
    quantizer.fit(&[0.0, 2.9e38], [1, 2]).unwrap();
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let quantizer = Quantizer { bits: width(4), ..Quantizer::default() };
    let params = [Params::scale(1.0), Params::scale(2.0)];
    let values = [0.0; 6];
    let into = |params: &[Params], shape, len: usize| {
        quantizer.fake_quantize_into(&values, shape, params, &mut vec![0.0; len]).unwrap_err()
    };
    let message = |error: QuantizerError| error.to_string();
    assert_eq!(message(into(&params, [2, 2], 6)), "6 values, expected 2 x 2");
    assert_eq!(message(into(&params, [3, 2], 5)), "5 values, expected 3 x 2");
    assert_eq!(
        message(into(&params, [usize::MAX, 2], 6)),
        format!("6 values, expected {} x 2", usize::MAX)
    );
    assert_eq!(message(into(&params, [2, 3], 6)), "2 scales, expected one for each of 3 groups");
    let wrong = |scale: f32, zero_point: i32, offset: f32| {
        let wrong = Params { scale, zero_point, offset };
        let error = into(&[params[0], wrong], [3, 2], 6);
        assert!(matches!(error, QuantizerError::Params { group: 1, .. }), "{error}");
    };
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e38] {
        wrong(scale, 0, 0.0);
    }
    wrong(1.0, 8, 0.0);
    wrong(1.0, i32::MIN, 0.0);
    wrong(1.0, 0, f32::NAN);
    for stored in
        [&params[..], &[params[0], Params { zero_point: 8, ..params[1] }], &params[..1], &[]]
    {
        let used = quantizer.fake_quantize_into(&values, [3, 2], stored, &mut [0.0; 6]);
        assert_eq!(quantizer.check([3, 2], stored), used, "{stored:?}");
    }
    let error = quantizer.check([usize::MAX, 2], &params).unwrap_err();
    assert!(matches!(error, QuantizerError::Shape { .. }), "{error}");
    let error = quantizer.values(&[0, 7, -8, 0, 0, 0], [3, 2], &params).unwrap_err();
    assert_eq!(error.to_string(), "code 2 is -8, expected -7 to 7");
    assert_eq!(quantizer.fit(&[], [0, 2]), Err(QuantizerError::NothingSeen));
    let full = Quantizer { bits: BitWidth::FULL, ..quantizer.clone() };
    assert_eq!(full.check([3, 2], &[]), Ok(()));
    assert_eq!(
        message(full.check([3, 2], &params).unwrap_err()),
        "2 scales, expected one for each of 0 groups"
    );
    assert!(matches!(full.codes(&values, [3, 2], &[]), Err(QuantizerError::GridWidth { .. })));
}
