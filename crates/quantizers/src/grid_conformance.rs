//! What every fake quantiser promises, checked over the registries of grids and ranges.

use std::collections::HashSet;
use std::iter;

use counter_rng::Key;

use crate::conformance::assert_documented;
use crate::range_conformance::has_units;
use crate::{
    Affine, AnyGrid, AnyRange, BitWidth, Extent, Granularity, Half, Integers, LEAST_SCALE, Levels,
    Log2, LogRounding, Lsq, MinMax, Operand, Params, Quantizer, QuantizerError, Scheme, Shift,
    Signedness,
};

const LAYOUTS: [(&str, Operand, [usize; 2]); 5] = [
    ("tensor", Operand::Weight, [12, 5]),
    ("channel", Operand::Weight, [12, 5]),
    ("group:5:pad", Operand::Weight, [12, 5]),
    ("group:6", Operand::Activation, [5, 12]),
    ("token", Operand::Activation, [5, 12]),
];

/// Every grid at its default, and those whose settings change the rules.
pub(crate) fn grids() -> Vec<AnyGrid> {
    let mut grids = AnyGrid::all();
    grids.push(Log2 { rounding: LogRounding::Logarithm, ..Log2::default() }.into());
    grids.push(Lsq { integers: Integers::Symmetric }.into());
    for (codes, scheme) in
        [(Signedness::Signed, Scheme::Affine), (Signedness::Unsigned, Scheme::Symmetric)]
    {
        grids.push(Affine { codes, scheme }.into());
    }
    grids
}

/// Whether values can be too small for the scales of a grid.
pub(crate) fn has_floor(grid: &AnyGrid, bits: BitWidth) -> bool {
    let extent = Extent { low: -1e-20, high: 1e-20 };
    grid.as_dyn().params(extent, bits).unwrap().scale == LEAST_SCALE
}

#[test]
fn a_least_scale_comes_with_a_zero_point_alone() {
    for grid in AnyGrid::all() {
        for bits in (1..=16).map(|bits| BitWidth::new(bits).unwrap()) {
            let Ok(codes) = grid.as_dyn().codes(bits) else { continue };
            let is_affine = codes.shift == Some(Shift::ZeroPoint);
            assert_eq!(has_floor(&grid, bits), is_affine, "{}, {bits}", grid.name());
        }
    }
}

/// Every grid at its widths, with every range that knows such grids, at every granularity.
fn all() -> impl Iterator<Item = (Quantizer, [usize; 2])> {
    let grids = grids().into_iter().flat_map(|grid| {
        let widths = [1, 2, 3, 4, 8, 16].map(|bits| BitWidth::new(bits).unwrap());
        let widths = widths.into_iter().filter(|&bits| grid.as_dyn().codes(bits).is_ok());
        widths.map(|bits| (grid.clone(), bits)).collect::<Vec<_>>()
    });
    let pairs = grids.flat_map(|(grid, bits)| {
        let is_cheap = move |it: &AnyRange| bits.get() <= 8 || *it == MinMax {}.into();
        let ranges = AnyRange::all().into_iter().filter(is_cheap);
        ranges.map(move |range| (grid.clone(), bits, range))
    });
    let singles = pairs.flat_map(|(grid, bits, range)| {
        LAYOUTS.iter().filter_map(move |&(granularity, operand, shape)| {
            let granularity = granularity.parse().unwrap();
            let (grid, range) = (grid.clone(), range.clone());
            let quantizer = Quantizer { bits, granularity, operand, grid, range, emulate: None };
            match quantizer.fit(&normal(60), shape) {
                Err(QuantizerError::NotIntegers { .. }) => None,
                fitted => {
                    fitted.unwrap();
                    Some((quantizer, shape))
                }
            }
        })
    });
    singles.flat_map(|(quantizer, shape)| {
        let is_one =
            quantizer.range == MinMax {}.into() && quantizer.granularity == Granularity::default();
        let halves = [Half::F16, Half::Bf16].map(Some).into_iter().filter(move |_| is_one);
        let emulations = iter::once(None).chain(halves);
        emulations.map(move |emulate| (Quantizer { emulate, ..quantizer.clone() }, shape))
    })
}

/// None if a half precision cannot hold the levels.
fn fit(quantizer: &Quantizer, values: &[f32], shape: [usize; 2]) -> Option<Vec<Params>> {
    match quantizer.fit(values, shape) {
        Err(QuantizerError::Half { half, .. }) if quantizer.emulate == Some(half) => None,
        fitted => Some(fitted.unwrap_or_else(|error| panic!("{}: {error}", name(quantizer)))),
    }
}

fn normal(len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(5).fill_normal(0, &mut values);
    values
}

/// Matrices of 60 values, some of them extreme.
fn matrices() -> Vec<Vec<f32>> {
    let normal = normal(60);
    let map = |f: &dyn Fn(f32) -> f32| normal.iter().map(|&x| f(x)).collect::<Vec<_>>();
    let outlier = normal.iter().enumerate().map(|(k, &x)| if k % 13 == 0 { 1e30 } else { x });
    vec![
        vec![0.0; 60],
        vec![-0.0; 60],
        vec![0.3; 60],
        vec![-1e30; 60],
        map(&|x| x * 1e-40),
        map(&|x| x * 1e-9),
        map(&|x| x * 1e30),
        map(&|x| x.powi(5)),
        map(&|x| 1e4 + x),
        map(&f32::abs),
        outlier.collect(),
        normal.clone(),
    ]
}

fn quantized(
    quantizer: &Quantizer,
    values: &[f32],
    shape: [usize; 2],
    params: &[Params],
) -> Vec<f32> {
    let mut out = vec![f32::NAN; values.len()];
    quantizer.fake_quantize_into(values, shape, params, &mut out).unwrap();
    out
}

fn name(quantizer: &Quantizer) -> String {
    let Quantizer { bits, granularity, operand, grid, range, emulate } = quantizer;
    let (grid, range) = (grid.name(), range.name());
    format!("{grid} of {bits} bits, {range}, {granularity} of a {operand}, {emulate:?}")
}

#[test]
fn every_grid_and_every_range_takes_part() {
    let mut seen = HashSet::new();
    for (quantizer, _) in all() {
        seen.extend([quantizer.grid.name(), quantizer.range.name()]);
    }
    let expected: HashSet<&str> = AnyGrid::NAMES.iter().chain(AnyRange::NAMES).copied().collect();
    assert_eq!(seen, expected);
}

#[test]
fn at_most_two_to_the_b_codes_a_group_finite_idempotent_and_back_from_codes() {
    let mut held = HashSet::new();
    for (quantizer, shape) in all() {
        let groups = quantizer.groups(shape).unwrap();
        for values in matrices() {
            let context = || format!("{}: {values:?}", name(&quantizer));
            let Some(params) = fit(&quantizer, &values, shape) else { continue };
            held.insert((quantizer.grid.name(), quantizer.emulate));
            let once = quantized(&quantizer, &values, shape, &params);
            assert!(once.iter().all(|x| x.is_finite()), "{}: {once:?}", context());
            groups.map(&once, |_, values| {
                let distinct: HashSet<u32> = values.iter().map(|x| x.to_bits()).collect();
                assert!(distinct.len() <= 1 << quantizer.bits.get(), "{}", context());
            });
            let twice = quantized(&quantizer, &once, shape, &params);
            assert_eq!(once, twice, "{}: {params:?}", context());
            let codes = quantizer.codes(&values, shape, &params).unwrap();
            let decoded = quantizer.values(&codes, shape, &params).unwrap();
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&decoded), bits(&once), "{}", context());
        }
    }
    let expected = AnyGrid::NAMES
        .iter()
        .flat_map(|&grid| [None, Some(Half::F16), Some(Half::Bf16)].map(|emulate| (grid, emulate)));
    assert_eq!(held, expected.collect());
}

#[test]
fn a_grid_has_at_most_two_to_the_b_codes_at_every_width() {
    for grid in grids() {
        let mut widths = 0;
        for bits in 1..=16 {
            let Ok(codes) = grid.as_dyn().codes(BitWidth::new(bits).unwrap()) else { continue };
            assert!(codes.count() <= 1 << bits, "{} of {bits} bits", grid.name());
            if let Some(levels) = codes.levels.table() {
                assert!(levels.is_sorted_by(|a, b| a < b), "{}: {levels:?}", grid.name());
            }
            widths += 1;
        }
        assert!(widths > 0, "{}", grid.name());
        assert!(grid.as_dyn().codes(BitWidth::FULL).is_err(), "{}", grid.name());
    }
}

#[test]
fn a_change_in_one_group_stays_there() {
    for (quantizer, shape) in all() {
        let groups = quantizer.groups(shape).unwrap();
        let before = normal(60);
        let mut after = before.clone();
        after[17] *= -100.0;
        let changed = groups.group(17);
        let codes = [before, after].map(|values| {
            let params = fit(&quantizer, &values, shape)?;
            Some((quantizer.codes(&values, shape, &params).unwrap(), params))
        });
        let [Some(before), Some(after)] = codes else { continue };
        for index in (0..60).filter(|&index| groups.group(index) != changed) {
            assert_eq!(before.0[index], after.0[index], "{}", name(&quantizer));
        }
        for group in (0..groups.count()).filter(|&group| group != changed) {
            assert_eq!(before.1[group], after.1[group], "{}", name(&quantizer));
        }
    }
}

#[test]
fn a_power_of_two_goes_through() {
    for (quantizer, shape) in all() {
        let values = normal(60);
        let Some(params) = fit(&quantizer, &values, shape) else { continue };
        let once = quantized(&quantizer, &values, shape, &params);
        for k in [2.0_f32.powi(-30), 0.25, 1024.0] {
            let scaled: Vec<f32> = values.iter().map(|x| k * x).collect();
            let expected: Vec<f32> = once.iter().map(|x| k * x).collect();
            let times = |it: &Params| Params {
                // A group without a value that has codes.
                scale: if it.scale == LEAST_SCALE { LEAST_SCALE } else { k * it.scale },
                offset: k * it.offset,
                ..*it
            };
            let frozen: Vec<Params> = params.iter().map(times).collect();
            let codes = quantizer.grid.as_dyn().codes(quantizer.bits).unwrap();
            let is_held = |half: Half| {
                frozen.iter().all(|it| half.params(*it) == *it && half.holds(&codes, it))
                    && expected.iter().all(|&x| half.round(x) == x)
            };
            if !quantizer.emulate.is_none_or(is_held) {
                continue;
            }
            assert_eq!(quantized(&quantizer, &scaled, shape, &frozen), expected);
            let is_small = k < 1e-3 && has_floor(&quantizer.grid, quantizer.bits);
            if !is_small && !has_units(&quantizer.range) {
                let fitted = quantizer.fit(&scaled, shape).unwrap();
                assert_eq!(fitted, frozen, "{} times {k}", name(&quantizer));
            }
        }
    }
}

#[test]
fn what_does_not_pass_its_gradient_has_an_end_code_and_what_passes_is_near() {
    for (quantizer, shape) in all() {
        let values = normal(60);
        let Some(params) = fit(&quantizer, &values, shape) else { continue };
        let grid = quantizer.grid.as_dyn().codes(quantizer.bits).unwrap();
        let groups = quantizer.groups(shape).unwrap();
        let mut stopped = 0;
        for (index, x) in values.iter().enumerate() {
            let params = &params[groups.group(index)];
            let code = grid.code(*x, params);
            if grid.passes(*x, params) {
                if let Levels::Integers { .. } = grid.levels {
                    let error = (x - grid.value(code, params)).abs();
                    // Rounding of u: an ulp of it, and of the offset.
                    let slack = 1e-6 * (params.scale + params.offset.abs() + x.abs());
                    assert!(error <= 0.5 * params.scale + slack, "{}: {x}", name(&quantizer));
                }
            } else {
                let (first, last) = grid.ends();
                assert!([first, last].contains(&code), "{}: {x} has code {code}", name(&quantizer));
                stopped += 1;
            }
        }
        let report = quantizer.distortion(&values, shape, &params).unwrap();
        assert_eq!(report.clipped, f64::from(stopped) / 60.0, "{}", name(&quantizer));
    }
}

#[test]
fn what_is_not_finite_is_refused_by_its_place() {
    for (quantizer, shape) in all() {
        let mut values = normal(60);
        let Some(params) = fit(&quantizer, &values, shape) else { continue };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            values[37] = bad;
            let context = name(&quantizer);
            let is_named = |error: QuantizerError| {
                assert!(matches!(error, QuantizerError::NotFinite { index: 37, .. }), "{context}");
            };
            is_named(quantizer.fit(&values, shape).unwrap_err());
            is_named(quantizer.codes(&values, shape, &params).unwrap_err());
            is_named(quantizer.distortion(&values, shape, &params).unwrap_err());
            let out = &mut [0.0; 60];
            is_named(quantizer.fake_quantize_into(&values, shape, &params, out).unwrap_err());
        }
    }
}

#[test]
fn full_width_is_the_identity_bit_for_bit() {
    for (quantizer, shape) in all() {
        let quantizer = Quantizer { bits: BitWidth::FULL, ..quantizer };
        let mut values = normal(60);
        values[..3].copy_from_slice(&[-0.0, f32::from_bits(1), f32::from_bits(0x7fc0_1234)]);
        let params = quantizer.fit(&values, shape).unwrap();
        assert!(params.is_empty());
        let mut out = vec![1.0; 60];
        quantizer.fake_quantize_into(&values, shape, &params, &mut out).unwrap();
        let same = values.iter().zip(&out).all(|(x, y)| x.to_bits() == y.to_bits());
        assert!(same, "{}", name(&quantizer));
    }
}

#[test]
fn the_documented_settings_parse_and_are_the_defaults() {
    assert_documented("grid", "grid", &AnyGrid::all());
    let (bits, granularity) = (BitWidth::new(4).unwrap(), "group:64".parse().unwrap());
    let whole = Quantizer { bits, granularity, ..Quantizer::default() };
    assert_documented(".", "quantizer", std::slice::from_ref(&whole));
    assert_eq!(toml::from_str::<Quantizer>(&toml::to_string(&whole).unwrap()).unwrap(), whole);
}
