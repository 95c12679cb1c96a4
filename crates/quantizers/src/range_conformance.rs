//! What every range promises, checked over the registry, on every grid it goes with.

use std::collections::HashSet;
use std::sync::LazyLock;

use counter_rng::Key;

use crate::conformance::{assert_documented, documented};
use crate::grid_conformance::{grids, has_floor};
use crate::{AnyGrid, AnyRange, BitWidth, Codes, Params, QuantizerError};

/// What the file of a range says where it does not keep a promise that the others keep.
const IN_ORDER: &str = "The order of the batches matters.";
const IN_UNITS: &str = "in the units of the values";
const FOR_INTEGERS: &str = "Integer codes only.";

/// The ranges whose files say so, by name.
fn that_say(exception: &str) -> HashSet<&'static str> {
    let files = documented::<AnyRange>("range", "range").into_iter();
    files.filter(|it| it.1.contains(exception)).map(|it| it.0.name()).collect()
}

/// Whether the range of values grows with them.
pub(crate) fn has_units(range: &AnyRange) -> bool {
    static WITH_UNITS: LazyLock<HashSet<&str>> = LazyLock::new(|| that_say(IN_UNITS));
    WITH_UNITS.contains(range.name())
}

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
fn every_range_goes_with_every_grid_but_those_for_integers_with_tables() {
    let combinations = combinations();
    let for_integers = that_say(FOR_INTEGERS);
    for range in AnyRange::all() {
        for grid in AnyGrid::all() {
            let is_there = combinations
                .iter()
                .any(|it| it.0.name() == range.name() && it.1.name() == grid.name());
            let is_table = (1..=8).any(|bits| {
                let codes = grid.as_dyn().codes(BitWidth::new(bits).unwrap());
                codes.is_ok_and(|it| it.levels.table().is_some())
            });
            let goes = !for_integers.contains(range.name()) || !is_table;
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
    let batches: [&[f32]; 16] = [
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
        &[f32::MAX, -f32::MAX],
        &[f32::MAX; 9],
        &[-f32::MAX, 3e38, 1.0],
        &[f32::MAX, 0.0, 1e-45],
    ];
    for (range, grid, bits, codes) in combinations() {
        for batch in batches {
            let params = fit(&range, &grid, bits, &[batch]).unwrap();
            let name = format!("{}, {}, {bits}, {batch:?}", range.name(), grid.name());
            assert!(params.scale.is_finite() && params.scale > 0.0, "{name}: {params:?}");
            assert!(params.offset.is_finite(), "{name}: {params:?}");
            // Near the largest f32 a level may lie beyond it, and `Quantizer::fit` refuses.
            if !codes.can_have(&params) {
                assert!(batch.iter().any(|x| x.abs() == f32::MAX), "{name}: {params:?}");
                continue;
            }
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
        if has_units(&range) {
            continue;
        }
        let params = fit(&range, &grid, bits, &[&values]).unwrap();
        for factor in [2.0_f32.powi(-40), 0.125, 32.0] {
            if factor < 1e-3 && has_floor(&grid, bits) {
                continue;
            }
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
    let in_order = that_say(IN_ORDER);
    for (range, grid, bits, _) in combinations() {
        let name = format!("{}, {}, {bits}", range.name(), grid.name());
        if in_order.contains(range.name()) {
            continue;
        }
        let of = |batches: &[&[f32]]| fit(&range, &grid, bits, batches).unwrap();
        let whole = of(&[&values]);
        // Sums of another order differ in their last bits, and a search may then end elsewhere.
        let is_close = |found: Params, tolerance: f32| {
            let near = |a: f32, b: f32| (a - b).abs() <= tolerance * whole.scale;
            near(found.scale, whole.scale) && near(found.offset, whole.offset)
        };
        for (parts, tolerance) in [(&[a, &[], b][..], 1e-5), (&[b, a], 0.02), (&[&reversed], 0.02)]
        {
            let found = of(parts);
            assert!(is_close(found, tolerance), "{name}: {found:?}, {whole:?}");
        }
    }
}

#[test]
fn the_documented_settings_parse_and_are_the_defaults() {
    assert_documented("range", "range", &AnyRange::all());
}
