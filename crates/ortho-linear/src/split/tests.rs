use counter_rng::Key;

use super::*;
use crate::base::AnyBase;
use crate::{Int8, Magnitude, Selection, Signals};

const CONSTRUCTIONS: usize = 3;

fn mask(places: &[u32], shape: [usize; 2]) -> Mask {
    Mask::new(places.to_vec(), shape).unwrap()
}

fn reference(values: &[f32], shape: [usize; 2], storage: Storage) -> Reference {
    Reference::cast(Matrix::new(values, shape).unwrap(), storage).unwrap()
}

fn normal(seed: u64, len: usize, sigma: f32) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values.into_iter().map(|it| it * sigma).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|it| it.to_bits()).collect()
}

/// The constructions without loss.
fn lossless(
    after: &Reference,
    before: &Reference,
    mask: &Mask,
) -> [Result<Split, OrthoError>; CONSTRUCTIONS] {
    [
        Split::extract(after, mask, IndexWidth::Auto),
        Split::clamp(after, mask, Scope::Matrix, IndexWidth::Auto),
        Split::delta(after, before, mask, IndexWidth::Auto),
    ]
}

#[test]
fn every_construction_by_hand() {
    let after = reference(&[3.0, -0.5, 1.0, -4.0, 0.25, 2.0], [3, 2], Storage::F16);
    let before = reference(&[1.0, -0.5, 1.5, -4.5, 0.25, 2.0], [3, 2], Storage::F16);
    let mask = mask(&[0, 3], [3, 2]);
    let expected = [
        ([0.0, -0.5, 1.0, 0.0, 0.25, 2.0], [3.0, -4.0]),
        ([2.0, -0.5, 1.0, -2.0, 0.25, 2.0], [1.0, -2.0]), // T = 2
        ([1.0, -0.5, 1.0, -4.5, 0.25, 2.0], [2.0, 0.5]),
    ];
    for (split, (base, outliers)) in lossless(&after, &before, &mask).into_iter().zip(expected) {
        let split = split.unwrap();
        assert_eq!(split.materialise(Alpha::BASE), base);
        assert_eq!(split.outliers().values(), outliers);
        let half = split.materialise(Alpha::new(0.5).unwrap());
        assert_eq!([half[0], half[3]], [base[0] + 0.5 * outliers[0], base[3] + 0.5 * outliers[1]]);
        let beyond = split.materialise(Alpha::extrapolated(-1.0).unwrap());
        assert_eq!(beyond[0], base[0] - outliers[0]);
    }
    // Channels 3 1 .25 and -.5 -4 2: thresholds 1 and 2.
    let split = Split::clamp(&after, &mask, Scope::Channel, IndexWidth::Auto).unwrap();
    assert_eq!(split.outliers().values(), [2.0, -2.0]);
}

#[test]
fn the_stored_bits_come_back() {
    let shape = [64, 48];
    let awkward = [-0.0, 0.0, 1.0, -1.0, 6e-8, -6e-8, 6.1e-5, 1e-40, 2.5, -1_000.0];
    for storage in [Storage::F16, Storage::Bf16, Storage::F32] {
        for seed in 0..4 {
            let mut before = normal(seed, 64 * 48, 0.03);
            let change = normal(seed + 100, 64 * 48, 1e-3);
            before[..awkward.len()].copy_from_slice(&awkward);
            let after: Vec<f32> = before.iter().zip(&change).map(|(w, d)| w + d).collect();
            // In f32, from numbers within a factor of two; see the test below.
            if storage == Storage::F32 {
                before = after.iter().map(|w| 1.25 * w).collect();
            }
            let [before, after] =
                [before, after].map(|it| reference(&it, shape, storage).with_positive_zeros().0);
            for ratio in [0.0, 0.01, 0.5, 1.0] {
                let signals = Signals::of(after.matrix());
                let mask = Magnitude { ratio, scope: Scope::Matrix }.select(&signals).unwrap();
                for split in lossless(&after, &before, &mask) {
                    let split = split.unwrap();
                    let stored = split.materialise(Alpha::STORED);
                    assert_eq!(bits(&stored), bits(after.matrix().values()));
                    assert_eq!(split.relative_error(&after, Alpha::STORED), Ok(0.0));
                    let inert = (ratio == 0.0).then_some(Inert::EmptyMask);
                    assert_eq!(split.inert(), inert, "{:?}", split.construction());
                }
            }
        }
    }
}

#[test]
fn negative_zeros() {
    let values = [-0.0, 0.0, 0.5, -0.0];
    let after = reference(&values, [4, 1], Storage::F16);
    let all = mask(&[0, 1, 2, 3], [4, 1]);
    // Zeros of their sign, and deltas of nothing.
    for split in lossless(&after, &after, &all) {
        assert_eq!(bits(&split.unwrap().materialise(Alpha::STORED)), bits(&values));
    }
    for before in [0.0, 1e-3] {
        let before = reference(&[-0.0, 0.0, 0.5, before], [4, 1], Storage::F16);
        let error = Split::delta(&after, &before, &all, IndexWidth::Auto).unwrap_err();
        assert!(matches!(error, OrthoError::NegativeZero { index: 3, .. }), "{error}");
        // Off the mask, it stays.
        let mask = mask(&[0, 1, 2], [4, 1]);
        let split = Split::delta(&after, &before, &mask, IndexWidth::Auto).unwrap();
        assert_eq!(bits(&split.materialise(Alpha::STORED)), bits(&values));
    }
}

#[test]
fn what_no_sum_of_two_numbers_is() {
    // 2^-24 - 1.5 has 25 bits, one more than f32.
    let least = 2.0_f32.powi(-24);
    let after = reference(&[0.5, least, least], [3, 1], Storage::F16);
    let before = reference(&[0.5, -1.5, -1.5], [3, 1], Storage::F16);
    let all = mask(&[0, 1, 2], [3, 1]);
    let error = Split::delta(&after, &before, &all, IndexWidth::Auto).unwrap_err();
    let expected =
        OrthoError::NotExact { index: 1, weight: least, base: -1.5, outlier: 1.5, others: 1 };
    assert_eq!(error, expected);
    // Below 1, all of half precision are multiples of 2^-24.
    let before = reference(&[0.5, -0.999, 0.999], [3, 1], Storage::F16);
    assert!(Split::delta(&after, &before, &all, IndexWidth::Auto).is_ok());
    let after = reference(&[0.001_234_567], [1, 1], Storage::F32);
    let before = reference(&[0.123_456_7], [1, 1], Storage::F32);
    let first = mask(&[0], [1, 1]);
    let error = Split::delta(&after, &before, &first, IndexWidth::Auto);
    assert!(matches!(error, Err(OrthoError::NotExact { index: 0, others: 0, .. })));
}

/// The difference of the two is no number of f32; with the threshold in digits of the larger it is.
#[test]
fn thresholds_are_multiples_of_the_last_digit() {
    let large = 0.062_388_357_f32;
    let after = reference(&[large, 0.03, -large], [3, 1], Storage::F32);
    assert_ne!(0.03 + (large - 0.03), large);
    let split =
        Split::clamp(&after, &mask(&[0, 2], [3, 1]), Scope::Matrix, IndexWidth::Auto).unwrap();
    let digit = 2.0_f64.powi(-28); // between 2^-5 and 2^-4
    let threshold = (f64::from(0.03_f32) / digit).floor() * digit;
    assert_eq!(f64::from(split.base().matrix().values()[0]), threshold);
    assert_eq!(split.materialise(Alpha::STORED), [large, 0.03, -large]);
}

#[test]
fn half_precision_outliers_would_not_do() {
    // A typical fine-tune: weights of .03, changes of .001. That some differences are no f16 is why
    // outliers are f32; 1.8 % of 1e6 is with a standard deviation of .013 %.
    let before = normal(1, 1_000_000, 0.03);
    let change = normal(2, 1_000_000, 1e-3);
    let round = |x: f32| Storage::F16.round(x);
    let pairs = before.iter().zip(&change).map(|(&w, &d)| (round(w), round(w + d)));
    let (mut inexact, mut missed) = (0, 0);
    for (before, after) in pairs {
        let outlier = round(after - before);
        inexact += usize::from(outlier != after - before);
        missed += usize::from(round(before + outlier) != after);
    }
    assert!((0.016..0.020).contains(&(inexact as f64 / 1e6)), "{inexact}");
    assert!((0.009..0.013).contains(&(missed as f64 / 1e6)), "{missed}");
}

#[test]
fn a_residual_is_exact_on_its_mask() {
    let shape = [128, 24];
    for storage in [Storage::F16, Storage::Bf16, Storage::F32] {
        let after = reference(&normal(5, 128 * 24, 0.1), shape, storage).with_positive_zeros().0;
        let signals = Signals::of(after.matrix());
        let mask = Magnitude { ratio: 0.05, scope: Scope::Channel }.select(&signals).unwrap();
        for kind in AnyBase::all() {
            let base = kind.as_dyn().encode(&after).unwrap();
            let off = base.matrix().values().to_vec();
            let split = Split::residual(&after, base, &mask, IndexWidth::Auto).unwrap();
            let stored = split.materialise(Alpha::STORED);
            for place in 0..128 * 24 {
                let is_masked = mask.places().binary_search(&(place as u32)).is_ok();
                let expected = if is_masked { after.matrix().values()[place] } else { off[place] };
                assert_eq!(stored[place].to_bits(), expected.to_bits(), "{}", kind.name());
            }
        }
    }
}

/// The published proof of concept: an fp16 base of fp16 weights leaves nothing to its outliers.
#[test]
fn fp16_of_fp16_is_inert() {
    let after = reference(&normal(6, 64, 0.1), [8, 8], Storage::F16);
    let base = || AnyBase::default().as_dyn().encode(&after).unwrap();
    let mask = mask(&[1, 9, 33], [8, 8]);
    let split = Split::residual(&after, base(), &mask, IndexWidth::Auto).unwrap();
    assert_eq!(split.inert(), Some(Inert::ZeroOutliers));
    assert_eq!(split.materialise(Alpha::BASE), split.materialise(Alpha::STORED));
}

#[test]
fn outputs_are_linear_in_alpha() {
    let (shape, tokens) = ([40, 30], 5);
    let after = reference(&normal(7, 40 * 30, 0.1), shape, Storage::F16);
    let mask = Magnitude { ratio: 0.1, ..Magnitude::default() };
    let mask = mask.select(&Signals::of(after.matrix())).unwrap();
    let split = Split::extract(&after, &mask, IndexWidth::Auto).unwrap();
    let x = normal(8, tokens * 40, 1.0);
    let outliers = |alpha: f32| {
        let mut y = vec![0.0; tokens * 30];
        let alpha = Alpha::extrapolated(alpha).unwrap();
        split.outliers().add_product(&x, tokens, alpha, &mut y).unwrap();
        y
    };
    let whole = outliers(1.0);
    let mut distance = f32::INFINITY;
    for alpha in [0.0, 0.125, 0.3, 0.75, 1.0] {
        let part = outliers(alpha);
        let size = whole.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
        let error = part.iter().zip(&whole).map(|(p, w)| (p - alpha * w).abs());
        assert!(error.fold(0.0, f32::max) <= 1e-6 * size);
        let left = part.iter().zip(&whole).map(|(p, w)| (p - w).powi(2)).sum::<f32>();
        assert!(left < distance);
        distance = left;
    }
}

#[test]
fn parts_of_other_matrices() {
    let after = reference(&[0.5; 6], [3, 2], Storage::F16);
    let wrong = mask(&[0], [2, 3]);
    for split in lossless(&after, &after, &wrong) {
        assert!(matches!(split, Err(OrthoError::ShapeMismatch { what: "the mask", .. })));
    }
    let mask = mask(&[0], [3, 2]);
    let before = reference(&[0.5; 6], [2, 3], Storage::F16);
    let error = Split::delta(&after, &before, &mask, IndexWidth::Auto).unwrap_err();
    assert!(matches!(error, OrthoError::ShapeMismatch { what: "the pretrained matrix", .. }));
    let before = reference(&[0.5; 6], [3, 2], Storage::Bf16);
    let error = Split::delta(&after, &before, &mask, IndexWidth::Auto).unwrap_err();
    let expected = "the pretrained matrix is stored as bf16, expected f16 as the weights";
    assert_eq!(error.to_string(), expected);
    let base =
        crate::BaseKind::encode(&Int8::default(), &reference(&[0.5; 6], [2, 3], Storage::F16));
    let error = Split::residual(&after, base.unwrap(), &mask, IndexWidth::Auto).unwrap_err();
    assert!(matches!(error, OrthoError::ShapeMismatch { what: "the base", .. }));
}
