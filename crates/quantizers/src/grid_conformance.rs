//! What every fake quantiser promises, checked over the registries of grids and ranges.

use std::collections::HashSet;
use std::iter;

use counter_rng::Key;

use crate::{
    AnyGrid, AnyRange, BitWidth, Granularity, Half, Integers, LEAST_SCALE, Levels, Log2,
    LogRounding, Lsq, Operand, Params, Quantizer, QuantizerError,
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
    grids
}

/// Every grid at its widths, with every range that knows such grids, at every granularity.
fn all() -> impl Iterator<Item = (Quantizer, [usize; 2])> {
    let grids = grids().into_iter().flat_map(|grid| {
        let widths = [1, 2, 3, 4, 8, 16].map(|bits| BitWidth::new(bits).unwrap());
        let widths = widths.into_iter().filter(|&bits| grid.as_dyn().codes(bits).is_ok());
        widths.map(|bits| (grid.clone(), bits)).collect::<Vec<_>>()
    });
    let pairs = grids.flat_map(|(grid, bits)| {
        let is_cheap = move |it: &AnyRange| bits.get() <= 8 || it.name() == "min-max";
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
            quantizer.range.name() == "min-max" && quantizer.granularity == Granularity::default();
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
        let values: Vec<f32> = normal(60).iter().map(|x| 1024.0 * x).collect(); // far from `LEAST_SCALE`
        let Some(params) = fit(&quantizer, &values, shape) else { continue };
        let once = quantized(&quantizer, &values, shape, &params);
        for k in [0.25, 1024.0] {
            let scaled: Vec<f32> = values.iter().map(|x| k * x).collect();
            let expected: Vec<f32> = once.iter().map(|x| k * x).collect();
            let times = |it: &Params| Params {
                // A group without a value above zero has the least scale of PACT.
                scale: if it.scale > LEAST_SCALE { k * it.scale } else { LEAST_SCALE },
                offset: k * it.offset,
                ..*it
            };
            let frozen: Vec<Params> = params.iter().map(times).collect();
            if quantizer.emulate == Some(Half::F16) && scaled.iter().any(|it| it.abs() > 65_504.0) {
                continue;
            }
            assert_eq!(quantized(&quantizer, &scaled, shape, &frozen), expected);
            if quantizer.range.name() != "hqq" {
                // whose shrinkage is in the units of the values
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
    let documented = [
        include_str!("grid/symmetric.rs"),
        include_str!("grid/affine.rs"),
        include_str!("grid/log2.rs"),
        include_str!("grid/apot.rs"),
        include_str!("grid/nf4.rs"),
        include_str!("grid/seq.rs"),
        include_str!("grid/ternary.rs"),
        include_str!("grid/binary.rs"),
        include_str!("grid/lsq.rs"),
        include_str!("grid/lsq_plus.rs"),
        include_str!("grid/pact.rs"),
    ];
    let snippet = |source: &str| {
        let (_, rest) = source.split_once("/// ```toml\n").unwrap();
        let (snippet, _) = rest.split_once("/// ```\n").unwrap();
        snippet.replace("/// ", "").replace("///", "")
    };
    let grids = documented.map(|source| {
        let quantizer: Quantizer = toml::from_str(&snippet(source)).unwrap();
        quantizer.grid
    });
    assert_eq!(grids.to_vec(), AnyGrid::all());
    let whole: Quantizer = toml::from_str(&snippet(include_str!("quantizer.rs"))).unwrap();
    let (bits, granularity) = (BitWidth::new(4).unwrap(), "group:64".parse().unwrap());
    assert_eq!(whole, Quantizer { bits, granularity, ..Quantizer::default() });
    assert_eq!(toml::from_str::<Quantizer>(&toml::to_string(&whole).unwrap()).unwrap(), whole);
}
