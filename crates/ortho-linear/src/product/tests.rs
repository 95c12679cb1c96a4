use counter_rng::Key;

use crate::{Alpha, Csr, IndexWidth, Mask};

fn sparse(shape: [usize; 2], ratio: f64) -> Csr {
    let mut values = vec![0.0; shape[0] * shape[1]];
    Key::from_seed(7).fill_normal(0, &mut values);
    let mask = Mask::random(shape, ratio, Key::from_seed(8)).unwrap();
    Csr::build(&mask, IndexWidth::Auto, |place| values[place as usize]).unwrap()
}

#[test]
fn by_hand() {
    // O = 1 . .    x = 1 2 3    x O = 1 + 3 * 3, 3 * 4, 2 * 2
    //     . . 2
    //     3 4 .
    let values = [1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 3.0, 4.0, 0.0];
    let mask = Mask::new(vec![0, 5, 6, 7], [3, 3]).unwrap();
    let csr = Csr::build(&mask, IndexWidth::Auto, |place| values[place as usize]).unwrap();
    let mut y = [100.0, 200.0, 300.0];
    csr.add_product(&[1.0, 2.0, 3.0], 1, Alpha::new(0.5).unwrap(), &mut y).unwrap();
    assert_eq!(y, [105.0, 206.0, 302.0]);
    csr.add_product(&[f32::NAN; 3], 1, Alpha::BASE, &mut y).unwrap();
    assert_eq!(y, [105.0, 206.0, 302.0]);
}

/// Shapes, tokens and ratios: one block of each width, several, a last one that is not full, none.
const CASES: [([usize; 2], usize, f64); 6] = [
    ([37, 53], 1, 0.1),
    ([64, 8], 33, 1.0),
    ([5, 300], 70, 0.01),
    ([40, 40], 7, 0.2),
    ([9, 9], 0, 0.5),
    ([20, 30], 64, 0.0),
];

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(seed).fill_normal(0, &mut values);
    values
}

/// Whether `found` is `start` and the sum of `terms`, within the rounding of that sum.
fn is_sum(found: f32, start: f32, terms: impl Iterator<Item = (f32, f32)>) -> bool {
    let start = f64::from(start);
    let terms = terms.map(|(a, b)| f64::from(a) * f64::from(b));
    let (sum, size) =
        terms.fold((start, start.abs()), |(sum, size), it| (sum + it, size + it.abs()));
    (f64::from(found) - sum).abs() <= 1e-6 * size
}

#[test]
fn equal_to_the_dense_products() {
    for (shape @ [d_in, d_out], tokens, ratio) in CASES {
        let csr = sparse(shape, ratio);
        let (pattern, values) = (csr.pattern(), csr.values());
        let mut dense = vec![0.0; d_in * d_out];
        csr.iter().for_each(|(place, value)| dense[place] = value);
        let (x, y) = (normal(tokens * d_in, 9), normal(tokens * d_out, 10));

        let mut sums = y.clone();
        pattern.add_product(values, &x, tokens, Alpha::STORED, &mut sums).unwrap();
        for (at, &found) in sums.iter().enumerate() {
            let (token, out) = (at / d_out, at % d_out);
            let terms = (0..d_in).map(|i| (x[token * d_in + i], dense[i * d_out + out]));
            assert!(is_sum(found, y[at], terms), "{shape:?} {at}: {found}");
        }
        let mut sums = x.clone();
        pattern.add_transposed_product(values, &y, tokens, Alpha::STORED, &mut sums).unwrap();
        for (at, &found) in sums.iter().enumerate() {
            let (token, i) = (at / d_in, at % d_in);
            let terms = (0..d_out).map(|out| (y[token * d_out + out], dense[i * d_out + out]));
            assert!(is_sum(found, x[at], terms), "{shape:?} {at}: {found}");
        }
        let sampled = pattern.sampled_product(&x, &y, tokens, Alpha::STORED).unwrap();
        assert_eq!(sampled.len(), values.len());
        for ([i, out], found) in pattern.places().zip(sampled) {
            let terms = (0..tokens).map(|token| (x[token * d_in + i], y[token * d_out + out]));
            assert!(is_sum(found, 0.0, terms), "{shape:?} {i} {out}: {found}");
        }
    }
}

#[test]
fn alpha_scales_all_three() {
    let csr = sparse([30, 20], 0.3);
    let (x, y) = (normal(9 * 30, 1), normal(9 * 20, 2));
    let products = |alpha| {
        let mut sums = [vec![0.0; y.len()], vec![0.0; x.len()]];
        csr.pattern().add_product(csr.values(), &x, 9, alpha, &mut sums[0]).unwrap();
        csr.pattern().add_transposed_product(csr.values(), &y, 9, alpha, &mut sums[1]).unwrap();
        [sums.concat(), csr.pattern().sampled_product(&x, &y, 9, alpha).unwrap()].concat()
    };
    let half: Vec<f32> = products(Alpha::STORED).iter().map(|it| it / 2.0).collect();
    assert_eq!(products(Alpha::new(0.5).unwrap()), half);
    assert!(half.iter().any(|&it| it != 0.0));
    assert!(products(Alpha::BASE).iter().all(|&it| it == 0.0));
}

#[test]
fn a_token_alone_has_the_same_bits() {
    let csr = sparse([200, 90], 0.1);
    for tokens in [5, 40] {
        let x = normal(tokens * 200, 3);
        let mut all = vec![0.5; tokens * 90];
        csr.add_product(&x, tokens, Alpha::STORED, &mut all).unwrap();
        for (x, expected) in x.chunks(200).zip(all.chunks(90)) {
            let mut y = vec![0.5; 90];
            csr.add_product(x, 1, Alpha::STORED, &mut y).unwrap();
            assert_eq!(y, expected);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let csr = sparse([200, 90], 0.2);
    let (pattern, values) = (csr.pattern(), csr.values());
    let alpha = Alpha::new(0.3).unwrap();
    for tokens in [1, 8, 40] {
        let (x, y) = (normal(tokens * 200, 3), normal(tokens * 90, 4));
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut sums = [vec![0.0; y.len()], vec![0.0; x.len()]];
            pool.install(|| {
                pattern.add_product(values, &x, tokens, alpha, &mut sums[0]).unwrap();
                pattern.add_transposed_product(values, &y, tokens, alpha, &mut sums[1]).unwrap();
                [sums.concat(), pattern.sampled_product(&x, &y, tokens, alpha).unwrap()].concat()
            })
        };
        assert_eq!(on(1), on(3));
    }
}

#[test]
fn runs_are_balanced_and_cover_every_channel() {
    // 2 outputs hold all: 50 entries and 1; the others none.
    let places = (0..50).map(|i| i * 10 + 3).chain([495 + 4]).collect();
    let mask = Mask::new(places, [50, 10]).unwrap();
    let csr = Csr::build(&mask, IndexWidth::Auto, |_| 1.0).unwrap();
    assert_eq!(csr.pattern().runs(4), [0..4, 4..10]);
    let csr = sparse([100, 64], 0.5);
    let runs = csr.pattern().runs(8);
    assert!(runs.iter().flat_map(Clone::clone).eq(0..64));
    for run in &runs {
        let entries =
            csr.pattern().entries(run.start).start..csr.pattern().entries(run.end - 1).end;
        assert!(entries.len() < 400 + 100, "{run:?}: {}", entries.len()); // 3200 / 8 and a channel
    }
}

#[test]
fn what_does_not_fit() {
    let csr = sparse([4, 3], 1.0);
    let mut y = [0.0; 6];
    let error = csr.add_product(&[0.0; 7], 2, Alpha::STORED, &mut y).unwrap_err();
    assert_eq!(error.to_string(), "`x` has 7 values, expected 8");
    let error = csr.add_product(&[0.0; 8], 2, Alpha::STORED, &mut y[..5]).unwrap_err();
    assert_eq!(error.to_string(), "`y` has 5 values, expected 6");
    assert!(csr.add_product(&[], usize::MAX, Alpha::STORED, &mut []).is_err());
    let pattern = csr.pattern();
    let error = pattern.add_product(&[0.0; 5], &[0.0; 8], 2, Alpha::STORED, &mut y).unwrap_err();
    assert_eq!(error.to_string(), "`values` has 5 values, expected 12");
    let error = pattern
        .add_transposed_product(csr.values(), &y, 2, Alpha::STORED, &mut [0.0; 7])
        .unwrap_err();
    assert_eq!(error.to_string(), "`x` has 7 values, expected 8");
    let error = pattern.sampled_product(&[0.0; 8], &[0.0; 7], 2, Alpha::STORED).unwrap_err();
    assert_eq!(error.to_string(), "`y` has 7 values, expected 6");
}
