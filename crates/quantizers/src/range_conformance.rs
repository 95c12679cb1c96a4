//! What every range promises, checked over the registry, on every grid it goes with.

use counter_rng::Key;

use crate::grid_conformance::grids;
use crate::{AnyGrid, AnyRange, BitWidth, Codes, LEAST_SCALE, Params, QuantizerError};

/// Ranges that depend on the order of the batches.
const IN_ORDER: [&str; 1] = ["moving-average"];

/// Ranges whose sums depend on the order of the values, in the last bits.
const SUMS: [&str; 3] = ["mean-magnitude", "mse", "hqq"];

/// Ranges with a setting in the units of the values.
const WITH_UNITS: [&str; 1] = ["hqq"];

fn normal(len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(9).fill_normal(0, &mut values);
    values
}

fn fit(
    range: &AnyRange,
    grid: &AnyGrid,
    bits: BitWidth,
    batches: &[&[f32]],
) -> Result<Params, QuantizerError> {
    let mut observer = range.as_dyn().observer();
    for batch in batches {
        observer.observe(batch)?;
    }
    observer.fit(grid.as_dyn(), bits)
}

/// Every range with every grid, at the widths up to 8 that the grid has, unless the two do not go
/// together.
fn combinations() -> Vec<(AnyRange, AnyGrid, BitWidth, Codes)> {
    let mut all = Vec::new();
    for (range, grid) in
        AnyRange::all().iter().flat_map(|range| grids().into_iter().map(|it| (range.clone(), it)))
    {
        for bits in (1..=8).map(|bits| BitWidth::new(bits).unwrap()) {
            let Ok(codes) = grid.as_dyn().codes(bits) else { continue };
            match fit(&range, &grid, bits, &[&[1.0, -0.5]]) {
                Err(QuantizerError::NotIntegers { .. }) => {}
                Err(error) => panic!("{}, {}, {bits}: {error}", range.name(), grid.name()),
                Ok(_) => all.push((range.clone(), grid.clone(), bits, codes)),
            }
        }
    }
    all
}

#[test]
fn every_range_goes_with_every_grid_of_integers_and_all_but_one_with_tables() {
    let combinations = combinations();
    for range in AnyRange::all() {
        for grid in AnyGrid::all() {
            let is_there = combinations
                .iter()
                .any(|it| it.0.name() == range.name() && it.1.name() == grid.name());
            let is_table = (1..=8).any(|bits| {
                let codes = grid.as_dyn().codes(BitWidth::new(bits).unwrap());
                codes.is_ok_and(|it| it.levels.table().is_some())
            });
            let goes = range.name() != "hqq" || !is_table;
            assert_eq!(is_there, goes, "{}, {}", range.name(), grid.name());
        }
    }
}

#[test]
fn nothing_and_what_is_not_finite_are_refused() {
    for (range, grid, bits, _) in combinations() {
        for batches in [&[][..], &[&[][..]]] {
            let error = fit(&range, &grid, bits, batches).unwrap_err();
            assert_eq!(error, QuantizerError::NothingSeen, "{}", range.name());
        }
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = fit(&range, &grid, bits, &[&[1.0], &[0.0, wrong]]).unwrap_err();
            let text = format!("value 1 is {wrong}, expected a finite number");
            assert_eq!(error.to_string(), text, "{}", range.name());
        }
    }
}

/// A batch that is refused is not remembered.
#[test]
fn what_is_refused_leaves_no_trace() {
    for (range, grid, bits, _) in combinations() {
        let mut observer = range.as_dyn().observer();
        observer.observe(&[1.0, -2.0]).unwrap();
        observer.observe(&[50.0, f32::NAN]).unwrap_err();
        let expected = fit(&range, &grid, bits, &[&[1.0, -2.0]]);
        assert_eq!(observer.fit(grid.as_dyn(), bits), expected, "{}", range.name());
    }
}

#[test]
fn scales_are_above_zero_and_every_value_is_finite() {
    let batches: [&[f32]; 12] = [
        &[0.0; 20],
        &[-0.0],
        &[0.3; 20],
        &[-7.0; 3],
        &[1e-45, -1e-45],
        &[1e-30, 2e-30, -1e-30],
        &[1e30, -1e30, 3.0],
        &[1e30, 1e-30],
        &[1e30; 5],
        &[1_000.0, 1_000.01, 1_000.02],
        &[-5.0, -4.0, -3.0],
        &[1.0, 0.0, 0.0, 0.0],
    ];
    for (range, grid, bits, codes) in combinations() {
        for batch in batches {
            let params = fit(&range, &grid, bits, &[batch]).unwrap();
            let name = format!("{}, {}, {bits}, {batch:?}", range.name(), grid.name());
            assert!(params.scale.is_finite() && params.scale > 0.0, "{name}: {params:?}");
            for &x in batch {
                let y = codes.quantize(x, &params);
                assert!(y.is_finite(), "{name}: {params:?}, {y}");
            }
        }
    }
}

#[test]
fn a_multiple_by_a_power_of_two_has_the_multiple_of_the_range() {
    let values = normal(300);
    for (range, grid, bits, _) in combinations() {
        if WITH_UNITS.contains(&range.name()) {
            continue;
        }
        let params = fit(&range, &grid, bits, &[&values]).unwrap();
        assert!(params.scale > LEAST_SCALE * 1_024.0);
        for factor in [0.125, 32.0] {
            let values: Vec<f32> = values.iter().map(|x| factor * x).collect();
            let expected = Params {
                scale: factor * params.scale,
                zero_point: params.zero_point,
                offset: factor * params.offset,
            };
            let found = fit(&range, &grid, bits, &[&values]).unwrap();
            assert_eq!(found, expected, "{}, {}, {bits}", range.name(), grid.name());
        }
    }
}

#[test]
fn batches_are_one_batch_in_any_order() {
    let values = normal(301);
    let (a, b) = values.split_at(100);
    let reversed: Vec<f32> = values.iter().rev().copied().collect();
    for (range, grid, bits, _) in combinations() {
        let name = format!("{}, {}, {bits}", range.name(), grid.name());
        let of = |batches: &[&[f32]]| fit(&range, &grid, bits, batches).unwrap();
        let whole = of(&[&values]);
        if IN_ORDER.contains(&range.name()) {
            continue;
        }
        if SUMS.contains(&range.name()) {
            let parts = of(&[a, &[], b]);
            assert!((parts.scale / whole.scale - 1.0).abs() < 1e-6, "{name}: {parts:?}, {whole:?}");
        } else {
            assert_eq!(of(&[a, &[], b]), whole, "{name}");
            assert_eq!(of(&[b, a]), whole, "{name}");
            assert_eq!(of(&[&reversed]), whole, "{name}");
        }
    }
}

#[test]
fn the_documented_settings_parse_and_are_the_defaults() {
    #[derive(serde::Deserialize)]
    struct File {
        range: AnyRange,
    }
    let documented = [
        include_str!("range/min_max.rs"),
        include_str!("range/mean_magnitude.rs"),
        include_str!("range/moving_average.rs"),
        include_str!("range/percentile.rs"),
        include_str!("range/histogram.rs"),
        include_str!("range/mse.rs"),
        include_str!("range/hqq.rs"),
    ];
    let documented = documented.map(|source| {
        let (_, rest) = source.split_once("/// ```toml\n").unwrap();
        let (snippet, _) = rest.split_once("/// ```\n").unwrap();
        toml::from_str::<File>(&snippet.replace("/// ", "")).unwrap().range
    });
    assert_eq!(documented.to_vec(), AnyRange::all());
}
