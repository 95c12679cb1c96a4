//! What every codebook promises, checked over the registry.

use std::fmt::Debug;
use std::num::NonZeroU8;
use std::path::Path;

use counter_rng::Key;
use serde::de::DeserializeOwned;

use crate::{AnyCodebook, CodebookError, CodedVector, SortedValues, entropy_bits, quantize};

fn normal(len: usize, scale: f32) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(7).fill_normal(0, &mut values);
    values.into_iter().map(|it| it * scale).collect()
}

fn vectors() -> Vec<Vec<f32>> {
    vec![
        vec![0.0; 100],
        vec![-0.0, 0.0],
        vec![0.3; 50],
        vec![-1.5],
        vec![65_504.0, -65_504.0, 0.0],
        vec![1e-30, -1e-30, 2e-30],
        vec![1.0, 1.0, 1.0, 2.0, 2.0, 1e-7],
        normal(7, 1.0),
        normal(1_000, 1e-3),
        normal(1_000, 1.0).iter().map(|it| it.powi(5)).collect(),
        normal(997, 1e-6),
    ]
}

fn levels() -> [NonZeroU8; 5] {
    [1, 2, 3, 11, 255].map(|it| NonZeroU8::new(it).unwrap())
}

#[test]
fn every_value_takes_the_nearest_stored_level_and_every_level_is_used() {
    for method in AnyCodebook::all() {
        for (values, levels) in
            vectors().iter().flat_map(|it| levels().map(|levels| (it.clone(), levels)))
        {
            let vector = quantize(method.as_dyn(), &values, levels).unwrap();
            let stored: Vec<f64> =
                vector.codebook().centroids().iter().map(|it| it.to_f64()).collect();
            let name = method.name();
            assert!(stored.len() <= levels.get().into(), "{name}, {levels}");
            assert!(stored.is_sorted_by(|a, b| a < b), "{name}: {stored:?}");
            assert!(vector.counts().iter().all(|&count| count > 0), "{name}: {stored:?}");
            for (&value, &symbol) in values.iter().zip(vector.symbols()) {
                let distance = |k: usize| (f64::from(value) - stored[k]).abs();
                let earlier =
                    |best: usize, k: usize| if distance(k) < distance(best) { k } else { best };
                let nearest = (0..stored.len()).fold(0, earlier);
                assert_eq!(usize::from(symbol), nearest, "{name}: {value} in {stored:?}");
            }
            let bytes = vector.to_bytes();
            assert_eq!(CodedVector::from_bytes(&bytes, 1_000), Ok(vector), "{name}");
        }
    }
}

#[test]
fn the_order_of_the_values_does_not_matter() {
    let values = normal(501, 1.0);
    let places = Key::from_seed(8).permutation(values.len());
    let shuffled: Vec<f32> = places.iter().map(|&place| values[place as usize]).collect();
    for method in AnyCodebook::all() {
        let [a, b] =
            [&values, &shuffled].map(|it| quantize(method.as_dyn(), it, levels()[3]).unwrap());
        assert_eq!(a.codebook(), b.codebook(), "{}", method.name());
    }
}

#[test]
fn quantising_again_changes_nothing() {
    for method in AnyCodebook::all().iter().filter(|it| it.name() != "entropy-constrained") {
        let once = quantize(method.as_dyn(), &normal(300, 1.0), levels()[3]).unwrap().dequantize();
        let centroids: Vec<f64> = once.iter().map(|&it| f64::from(it)).collect();
        let mut distinct = centroids.clone();
        distinct.sort_unstable_by(f64::total_cmp);
        distinct.dedup();
        let twice = CodedVector::nearest(&once, &distinct).unwrap().dequantize();
        assert_eq!(once, twice, "{}", method.name());
    }
}

#[test]
fn more_levels_never_mean_more_error_than_one() {
    let values = normal(400, 0.1);
    let variance = SortedValues::new(&values).unwrap().variance();
    for method in AnyCodebook::all() {
        let vector = quantize(method.as_dyn(), &values, levels()[3]).unwrap();
        let errors = values.iter().zip(vector.dequantize()).map(|(x, y)| f64::from(x - y).powi(2));
        let error = errors.sum::<f64>() / values.len() as f64;
        assert!(error < 0.1 * variance, "{}: {error} of {variance}", method.name());
    }
}

#[test]
fn the_file_is_within_half_a_percent_and_64_bits_of_its_entropy() {
    for (method, len) in
        AnyCodebook::all().iter().flat_map(|it| [1_000, 4_096, 50_000].map(|len| (it, len)))
    {
        let vector = quantize(method.as_dyn(), &normal(len, 0.01), levels()[3]).unwrap();
        let (length, entropy) = (vector.length(), entropy_bits(&vector.counts()));
        let coded = (length.symbols + length.counts) as f64;
        assert!(
            (entropy..=1.005 * entropy + 64.0).contains(&coded),
            "{}: {length:?}, {entropy}",
            method.name()
        );
    }
}

#[test]
fn what_cannot_be_quantised_is_refused() {
    for method in AnyCodebook::all() {
        let refused = |values: &[f32]| quantize(method.as_dyn(), values, levels()[3]).unwrap_err();
        assert_eq!(refused(&[]), CodebookError::NoValues);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = refused(&[0.0, bad]);
            assert!(matches!(error, CodebookError::ValueNotFinite { index: 1, .. }), "{error}");
        }
        let error = refused(&[0.0, 1.0, 7e4]);
        assert!(matches!(error, CodebookError::CentroidNotFinite { .. }), "{error}");
    }
}

/// The settings in the documentation of every source file in `folder` that has some of this kind, in the
/// table `key` or at the top, and the file.
pub(crate) fn documented<T: DeserializeOwned>(folder: &str, key: &str) -> Vec<(T, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let sources = files.filter(|it| it.is_file()).map(|it| std::fs::read_to_string(it).unwrap());
    let settings = |source: String| {
        let (_, rest) = source.split_once("/// ```toml\n")?;
        let (snippet, _) = rest.split_once("/// ```\n")?;
        let mut snippet: toml::Table = toml::from_str(&snippet.replace("///", "")).unwrap();
        let settings = snippet.remove(key).unwrap_or(snippet.into());
        Some((settings.try_into().ok()?, source))
    };
    sources.filter_map(settings).collect()
}

/// That every one of `all` is documented at its default.
pub(crate) fn assert_documented<T: DeserializeOwned + PartialEq + Debug>(
    folder: &str,
    key: &str,
    all: &[T],
) {
    let documented = documented::<T>(folder, key);
    for method in all {
        assert!(documented.iter().any(|it| it.0 == *method), "{method:?} in src/{folder}");
    }
}

#[test]
fn the_documented_settings_parse_and_are_the_defaults() {
    assert_documented(".", "codebook", &AnyCodebook::all());
}
