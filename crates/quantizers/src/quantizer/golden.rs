//! A unit Gaussian, $2^{18}$ of them, against what the theory says of it.
//!
//! The predictions are integrals over the cells of each quantiser, in `f64`. A random sample of this
//! size scatters about them by 0.1 dB where few values are clipped; its quantiles,
//! $\Phi^{-1}((i + \tfrac12) / n)$, do not. Tolerances: 0.1 dB and 0.02 % of the norm. Blocks need
//! a random order, and have it.

use counter_rng::Key;
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::erf::erf;

use crate::{
    AnyGrid, AnyRange, Binary, BitWidth, Distortion, Log2, LogRounding, Nf4, Params, Percentile,
    Quantizer, Seq, Symmetric,
};

const LEN: usize = 1 << 18;

/// In ascending order.
fn gaussian() -> Vec<f32> {
    let normal = Normal::standard();
    (0..LEN).map(|i| normal.inverse_cdf((i as f64 + 0.5) / LEN as f64) as f32).collect()
}

fn quantizer(grid: impl Into<AnyGrid>, bits: u8, granularity: &str) -> Quantizer {
    Quantizer {
        bits: BitWidth::new(bits).unwrap(),
        granularity: granularity.parse().unwrap(),
        grid: grid.into(),
        ..Quantizer::default()
    }
}

/// With one scale.
fn at_scale(values: &[f32], grid: impl Into<AnyGrid>, bits: u8, scale: f32) -> Distortion {
    let quantizer = quantizer(grid, bits, "tensor");
    quantizer.distortion(values, [LEN, 1], &[Params::scale(scale)]).unwrap()
}

fn greatest(bits: u8) -> f32 {
    f32::from((1_u16 << (bits - 1)) - 1)
}

fn assert_db(report: &Distortion, expected: f64, what: &str) {
    let sqnr = report.sqnr_db;
    assert!((sqnr - expected).abs() < 0.1, "{what}: {sqnr} dB, expected {expected}");
}

fn assert_percent(actual: f64, expected: f64, what: &str) {
    assert!((100.0 * actual - expected).abs() < 0.02, "{what}: {actual}, expected {expected} %");
}

#[test]
fn symmetric_grids_at_the_best_clip_and_beyond() {
    let values = gaussian();
    for (bits, clip, best, wide) in [
        (2, 1.2240, 7.21, [0.63, 0.34, 0.18]),
        (3, 1.9523, 13.29, [8.29, 7.27, 6.36]),
        (4, 2.4739, 18.90, [15.65, 14.63, 13.71]),
        (5, 2.8987, 24.33, [22.27, 21.25, 20.33]),
        (6, 3.2701, 29.71, [28.56, 27.55, 26.64]),
        (7, 3.6075, 35.11, [34.66, 33.71, 32.80]),
        (8, 3.9205, 40.54, [40.51, 39.78, 38.89]),
    ] {
        let clips = [(clip, best), (4.0, wide[0]), (4.5, wide[1]), (5.0, wide[2])];
        for (clip, expected) in clips {
            let report = at_scale(&values, Symmetric {}, bits, clip / greatest(bits));
            assert_db(&report, expected, &format!("{bits} bits, clip {clip}"));
        }
    }
}

#[test]
fn grids_without_a_zero_at_the_best_scale() {
    // The best steps of J. Max, Quantizing for Minimum Distortion, 1960: 1.596, .9957, .5860, .3352.
    let values = gaussian();
    assert_db(&at_scale(&values, Binary {}, 1, 0.798), 4.40, "binary");
    for (bits, scale, expected) in
        [(2, 2.0 * 0.9957, 9.25), (3, 4.0 * 0.5860, 14.27), (4, 8.0 * 0.3352, 19.38)]
    {
        assert_db(&at_scale(&values, Seq {}, bits, scale), expected, &format!("seq, {bits} bits"));
    }
}

#[test]
fn logarithmic_grids_at_the_best_clip() {
    let values = gaussian();
    for (bits, ratio, expected) in [
        (3, 2.0, 13.23),
        (4, 2.0_f32.sqrt(), 18.87),
        (5, 2.0_f32.powf(0.25), 23.93),
        (8, 2.0, 14.23), // more levels, all near zero
    ] {
        let clips = (60..160).step_by(2).map(|percent| percent as f32 * 0.025);
        let reports =
            clips.map(|clip| at_scale(&values, Log2 { ratio, ..Log2::default() }, bits, clip));
        let best = reports.max_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db)).unwrap();
        assert_db(&best, expected, &format!("ratio {ratio}, {bits} bits"));
    }
}

#[test]
fn blocks_scaled_to_their_largest_value() {
    let mut values = vec![0.0; LEN];
    Key::from_seed(1).fill_normal(0, &mut values);
    for (block, grid, bits, expected) in [
        (64, AnyGrid::from(Nf4 {}), 4, 20.73),
        (64, Symmetric {}.into(), 4, 19.35),
        (64, Symmetric {}.into(), 3, 11.99),
        (64, Symmetric {}.into(), 2, 2.88),
        (32, Nf4 {}.into(), 4, 21.17),
        (32, Symmetric {}.into(), 4, 20.27),
        (128, Nf4 {}.into(), 4, 20.39),
        (128, Symmetric {}.into(), 4, 18.61),
    ] {
        let quantizer = quantizer(grid, bits, &format!("group:{block}"));
        let shape = [1 << 10, 1 << 8];
        let params = quantizer.fit(&values, shape).unwrap();
        let report = quantizer.distortion(&values, shape, &params).unwrap();
        assert_db(&report, expected, &format!("{} of {block}", quantizer.grid.name()));
        let bits = f64::from(bits) + 16.0 / f64::from(block);
        assert_eq!(report.bits_per_value, bits); // 4.25 for 4 bits in groups of 64
    }
}

#[test]
fn the_largest_value_decides_on_error_and_zeros() {
    let values = gaussian();
    let clip = values.iter().fold(0.0_f32, |clip, x| clip.max(x.abs()));
    for bits in [8, 4, 2] {
        let quantizer = quantizer(Symmetric {}, bits, "tensor");
        let params = quantizer.fit(&values, [LEN, 1]).unwrap();
        assert_eq!(params, [Params::scale(clip / greatest(bits))]);
        let report = quantizer.distortion(&values, [LEN, 1], &params).unwrap();
        let scale = f64::from(params[0].scale);
        assert_percent(report.zeros, 100.0 * erf(0.5 * scale / 2.0_f64.sqrt()), "zeros");
        if bits > 2 {
            let percent = 100.0 * scale / 12.0_f64.sqrt();
            assert_percent(report.relative_error, percent, &format!("{bits} bits"));
            let expected = 10.79 + 20.0 * f64::from(greatest(bits) / clip).log10();
            assert_db(&report, expected, &format!("{bits} bits"));
        }
        assert_eq!(report.clipped, 0.0);
        // Of 255 some of the outermost, where quantiles lie further apart than levels, are not taken.
        let levels = (1 << bits) - 1;
        assert!(report.levels == levels || bits == 8 && report.levels > 230, "{}", report.levels);
    }
}

#[test]
fn errors_of_clipping() {
    let values = gaussian();
    for (percent, clip, clip_only, int8, int4) in [
        (90.0, 1.6449, 17.683, 17.686, 18.818),
        (95.0, 1.9600, 11.390, 11.398, 13.850),
        (99.0, 2.5758, 4.310, 4.349, 11.416),
        (99.5, 2.8070, 2.876, 2.945, 11.901),
        (99.73, 3.0, 2.017, 2.129, 12.519),
        (99.9, 3.2905, 1.148, 1.370, 13.612),
    ] {
        let what = format!("clip {clip}");
        // 16 bits: nothing but the clip is left.
        for (bits, expected) in [(16, clip_only), (8, int8), (4, int4)] {
            let greatest = f32::from((1_u16 << (bits - 1)) - 1);
            let report = at_scale(&values, Symmetric {}, bits, clip / greatest);
            assert_percent(report.relative_error, expected, &what);
            let range = AnyRange::from(Percentile { percent, ..Percentile::default() });
            let quantizer = Quantizer { range, ..quantizer(Symmetric {}, bits, "tensor") };
            let params = quantizer.fit(&values, [LEN, 1]).unwrap();
            let report = quantizer.distortion(&values, [LEN, 1], &params).unwrap();
            assert_percent(report.relative_error, expected, &format!("{percent} percent"));
        }
        let report = at_scale(&values, Symmetric {}, 16, clip / 32_767.0);
        assert_percent(report.clipped, 100.0 - percent, &what);
    }
}

/// By closed forms of the cells' integrals. Rounded in the logarithm, nothing but zero becomes zero.
#[test]
fn rounding_the_logarithm_loses_to_the_nearest_level() {
    let values = gaussian();
    for (bits, scale, nearest, logarithm) in
        [(3, 2.0, 13.21, 11.24), (4, 2.0, 13.89, 13.61), (4, 4.0, 14.23, 13.84)]
    {
        for (rounding, expected) in
            [(LogRounding::Nearest, nearest), (LogRounding::Logarithm, logarithm)]
        {
            let report = at_scale(&values, Log2 { ratio: 2.0, rounding }, bits, scale);
            assert_db(&report, expected, &format!("{rounding:?}, {bits} bits, scale {scale}"));
        }
    }
}

/// Quantiles of the Laplace distribution of variance 1.
fn laplace() -> Vec<f32> {
    let half = (0..LEN / 2).map(|i| ((2 * i + 1) as f64 / LEN as f64).ln() / 2.0_f64.sqrt());
    half.flat_map(|x| [x as f32, -x as f32]).collect()
}

/// Quantiles of Student's distribution with 3 degrees of freedom: of $x = \sqrt 3 \tan \theta$,
/// $\pi (F(x) - \tfrac12) = \theta + \tfrac12 \sin 2 \theta$.
fn student() -> Vec<f32> {
    let angle = |target: f64| {
        let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
        for _ in 0..50 {
            let middle: f64 = f64::midpoint(low, high);
            let is_below = middle + 0.5 * (2.0 * middle).sin() < target;
            (low, high) = if is_below { (middle, high) } else { (low, middle) };
        }
        low
    };
    let target = |i: usize| std::f64::consts::PI * (i as f64 + 0.5) / LEN as f64;
    let half = (0..LEN / 2).map(|i| 3.0_f64.sqrt() * angle(target(i)).tan());
    half.flat_map(|x| [x as f32, -x as f32]).collect()
}

fn log2(steps_an_octave: f32) -> AnyGrid {
    Log2 { ratio: steps_an_octave.recip().exp2(), ..Log2::default() }.into()
}

/// Each at its best clip: a logarithmic grid of as many codes loses on a Gaussian, and wins by more, the
/// heavier the tails.
#[test]
fn uniform_logarithmic_and_normal_levels_on_three_distributions() {
    let [gaussian, laplace] = [gaussian(), laplace()];
    let uniform = || AnyGrid::from(Symmetric {});
    for (values, grid, bits, clip, expected) in [
        (&gaussian, Nf4 {}.into(), 4, 2.83, 20.04),
        (&laplace, Nf4 {}.into(), 4, 4.10, 17.76),
        (&laplace, uniform(), 3, 2.44, 10.80),
        (&laplace, uniform(), 4, 3.45, 15.62),
        (&laplace, uniform(), 5, 4.31, 20.42),
        (&laplace, log2(1.0), 3, 2.76, 11.51),
        (&laplace, log2(2.0), 4, 3.71, 16.50),
        (&laplace, log2(3.0), 5, 5.50, 22.38),
    ] {
        let what = format!("{} of {bits} bits, clip {clip}", grid.name());
        let scale = if grid == uniform() { clip / greatest(bits) } else { clip };
        assert_db(&at_scale(values, grid.clone(), bits, scale), expected, &what);
        for other in [0.9, 1.1] {
            let found = at_scale(values, grid.clone(), bits, other * scale).sqnr_db;
            assert!(found < expected + 0.01, "{what}: {found} at {other} times");
        }
    }
    // The power of its largest values, beyond any sample, moves these by tenths.
    let student = student();
    let [uniform, log] = [(uniform(), 8.7 / 7.0), (log2(1.0), 40.0)]
        .map(|(grid, scale)| at_scale(&student, grid, 4, scale).sqnr_db);
    assert!((uniform - 9.6).abs() < 0.4 && (log - 13.0).abs() < 0.4, "{uniform}, {log}");
}
