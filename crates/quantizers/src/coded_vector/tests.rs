use std::fmt::Write;

use counter_rng::Key;
use half::f16;

use super::*;
use crate::{entropy_bits, krichevsky_trofimov_bits};

fn codebook(levels: usize) -> Codebook {
    Codebook::new((0..levels).map(|k| f16::from_f64(k as f64 - 3.0)).collect()).unwrap()
}

/// The symbols of a histogram in a random order.
fn deal(counts: &[u32]) -> Vec<u8> {
    let levels = counts.iter().enumerate();
    let sorted: Vec<u8> = levels.flat_map(|(k, &n)| vec![k as u8; n as usize]).collect();
    let places = Key::from_seed(1).permutation(sorted.len());
    places.into_iter().map(|place| sorted[place as usize]).collect()
}

fn vector(counts: &[u32]) -> CodedVector {
    CodedVector::new(codebook(counts.len()), deal(counts)).unwrap()
}

/// Lengths of the two forms of the symbols: adaptive, and enumerative without its table.
fn forms(counts: &[u32]) -> [usize; 2] {
    let symbols = deal(counts);
    let [mut adaptive, mut enumerative] = [BitString::default(), BitString::default()];
    range_coder::encode(&symbols, KrichevskyTrofimov::new(counts.len()), &mut adaptive);
    range_coder::encode(&symbols, KnownCounts::new(counts), &mut enumerative);
    [adaptive.len(), enumerative.len()]
}

fn histograms() -> Vec<Vec<u32>> {
    let mut skewed = vec![1; 255];
    skewed[254] = 20_000;
    let mut gaps = vec![0; 255];
    (gaps[0], gaps[100], gaps[254]) = (3, 500, 1);
    vec![
        vec![1],
        vec![10_000],
        vec![1, 0],
        vec![0, 1],
        vec![0, 5_000],
        vec![1, 4_999],
        vec![1, 1],
        vec![2_500, 2_500],
        vec![10, 0, 0],
        vec![0, 0, 7, 0, 0],
        vec![1, 27, 137, 466, 869, 1087, 876, 445, 144, 40, 4],
        vec![1; 255],
        vec![40; 255],
        skewed,
        gaps,
        vec![65_535, 1, 65_536],
    ]
}

/// Bits written out, padded with zeros to whole bytes.
fn pack(text: &str) -> Vec<u8> {
    let mut bits = BitString::default();
    text.bytes().filter(|&it| it != b' ').for_each(|it| bits.push(u64::from(it == b'1'), 1));
    bits.into_bytes()
}

#[test]
fn two_files_by_hand() {
    let codebook = |centroids| Codebook::round(centroids).unwrap();
    // d = 1, L = 1, adaptive; 1.0 is 3C00; the only symbol needs no bits.
    let constant = CodedVector::new(codebook(&[1.0]), vec![0]).unwrap();
    assert_eq!(constant.to_bytes(), pack("1 1 0 0011110000000000"));
    // d = 5, L = 2, adaptive; 0.0 and 1.0. The symbols narrow [0, 1) to [0, 1/2), [3/8, 1/2),
    // [7/16, 1/2), [112, 118)/256, [115, 118)/256, each less a hair at its upper end, because the
    // coder starts from 1 - 2^-128: [58, 59)/128 just does not fit, and [115, 116)/256 does.
    let vector = CodedVector::new(codebook(&[0.0, 1.0]), vec![0, 1, 1, 0, 1]).unwrap();
    let expected = "00101 010 0 0000000000000000 0011110000000000 01110011";
    assert_eq!(vector.to_bytes(), pack(expected));
}

#[test]
fn adversarial_histograms_come_back() {
    for counts in histograms() {
        let vector = vector(&counts);
        let bytes = vector.to_bytes();
        assert_eq!(vector.length().total(), 8 * bytes.len(), "{counts:?}");
        assert_eq!(CodedVector::from_bytes(&bytes, 1 << 20).as_ref(), Ok(&vector), "{counts:?}");
        let two = [bytes.as_slice(), &bytes].concat();
        assert_eq!(CodedVector::read_prefix(&two, 1 << 20), Ok((vector, bytes.len())));
    }
}

#[test]
fn streams_are_within_two_bits_of_their_models() {
    for counts in histograms() {
        let wide: Vec<u64> = counts.iter().copied().map(u64::from).collect();
        // log2 (d! / prod c_k!), by way of the same rising factorials from 1.
        let factorial = |n: u64| (1..=n).map(|j| (j as f64).log2()).sum::<f64>();
        let enumerative =
            factorial(wide.iter().sum()) - wide.iter().map(|&n| factorial(n)).sum::<f64>();
        let ideal = [krichevsky_trofimov_bits(&wide), enumerative];
        for (actual, ideal) in forms(&counts).into_iter().zip(ideal) {
            let excess = actual as f64 - ideal;
            assert!(
                (-1e-6..=2.0 + 1e-6).contains(&excess),
                "{actual} bits for {ideal}: {counts:?}"
            );
        }
    }
}

#[test]
fn the_worked_example_of_4096_coefficients() {
    let counts = [1, 27, 137, 466, 869, 1087, 876, 445, 144, 40, 4];
    let length = vector(&counts).length();
    // KT 10 791.79 bits; enumerative 10 697.37 and a table of more than the difference.
    assert_eq!((length.counts, length.codebook), (0, 176));
    assert_eq!(length.header, 25 + 7 + 1); // gamma of 4096, gamma of 11, the choice
    assert!((10_792..=10_793).contains(&length.symbols), "{length:?}");
    assert!((10_698..=10_699).contains(&forms(&counts)[1]));
}

#[test]
fn counts_win_where_the_histogram_is_flat() {
    let length = vector(&[40; 255]).length();
    assert!(length.counts > 0, "{length:?}");
    let adaptive = krichevsky_trofimov_bits(&[40; 255]);
    assert!(((length.counts + length.symbols) as f64) < adaptive, "{length:?}, {adaptive}");
}

#[test]
fn the_length_is_close_to_the_entropy() {
    for counts in histograms() {
        let wide: Vec<u64> = counts.iter().copied().map(u64::from).collect();
        let (length, levels) = (vector(&counts).length(), counts.len() as f64);
        let coded = (length.symbols + length.counts) as f64;
        // A table of L ceil(log2 (d + 1)) bits beside the entropy is what the strict formula charges.
        let total = wide.iter().sum::<u64>() as f64;
        let charged = entropy_bits(&wide).ceil() + 1.0 + levels * (total + 1.0).log2().ceil();
        assert!(coded <= charged + 2.0, "{coded} bits, {charged} charged: {counts:?}");
    }
}

/// Every sequence of `len` symbols below `levels`.
fn all_sequences(levels: u8, len: u32) -> impl Iterator<Item = Vec<u8>> {
    let base = u32::from(levels);
    (0..base.pow(len)).map(move |n| (0..len).map(|i| (n / base.pow(i) % base) as u8).collect())
}

#[test]
fn no_string_is_the_beginning_of_another() {
    for levels in 1..=4 {
        let mut strings: Vec<String> = Vec::new();
        for symbols in all_sequences(levels, 5) {
            let mut bits = BitString::default();
            range_coder::encode(&symbols, KrichevskyTrofimov::new(levels.into()), &mut bits);
            let len = bits.len();
            let bytes = bits.into_bytes();
            let mut text = String::new();
            bytes.iter().try_for_each(|byte| write!(text, "{byte:08b}")).unwrap();
            strings.push(text[..len].to_owned());
        }
        strings.sort_unstable();
        assert_eq!(strings.len(), usize::from(levels).pow(5));
        // Sorted, a string stands before all that begin with it.
        assert!(!strings.windows(2).any(|it| it[1].starts_with(&it[0])), "{strings:?}");
    }
    let mut strings: Vec<Vec<u8>> = (1..=3_u8)
        .flat_map(|levels| {
            (1..=5).flat_map(move |len| all_sequences(levels, len).map(move |it| (levels, it)))
        })
        .map(|(levels, it)| CodedVector::new(codebook(levels.into()), it).unwrap().to_bytes())
        .collect();
    strings.sort_unstable();
    assert!(!strings.windows(2).any(|it| it[1].starts_with(&it[0])));
}

#[test]
fn every_truncation_is_noticed() {
    for counts in [vec![3, 4, 5], vec![2; 60], vec![9], vec![0, 70, 2]] {
        let bytes = vector(&counts).to_bytes();
        for len in 0..bytes.len() {
            let error = CodedVector::from_bytes(&bytes[..len], 1 << 20).unwrap_err();
            // Zeros after the end may decode to symbols with a shorter codeword than is there.
            let truncated = DecodeError::Truncated { bits: 8 * len };
            assert!(
                error == truncated || error == DecodeError::NotCanonical,
                "{error}: {counts:?}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_or_another_vector() {
    let vector = vector(&[3, 40, 5]);
    let bytes = vector.to_bytes();
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = CodedVector::from_bytes(&flipped, 1 << 20) {
            assert_eq!(other.to_bytes(), flipped);
            assert_ne!(other, vector);
        }
    }
}

/// A string written by hand up to the codebook.
fn head(dimension: u32, levels: u32, has_counts: bool, centroids: &[f32]) -> BitString {
    let mut bits = BitString::default();
    bits.push_gamma(dimension);
    bits.push_gamma(levels);
    bits.push(u64::from(has_counts), 1);
    for &centroid in centroids {
        bits.push(u64::from(f16::from_f32(centroid).to_bits()), 16);
    }
    bits
}

fn error(bits: BitString) -> DecodeError {
    CodedVector::from_bytes(&bits.into_bytes(), 1_000).unwrap_err()
}

#[test]
fn trailing_bytes_are_refused() {
    let mut bytes = vector(&[3, 4]).to_bytes();
    bytes.extend([0, 0]);
    let expected = Err(DecodeError::TrailingBytes { bytes: 2 });
    assert_eq!(CodedVector::from_bytes(&bytes, 1_000), expected);
}

#[test]
fn a_dimension_above_the_limit_is_refused() {
    let bytes = vector(&[1_001]).to_bytes();
    let expected = DecodeError::DimensionAboveLimit { dimension: 1_001, max: 1_000 };
    assert_eq!(CodedVector::from_bytes(&bytes, 1_000), Err(expected));
    assert!(CodedVector::from_bytes(&bytes, 1_001).is_ok());
    let expected = DecodeError::DimensionAboveLimit { dimension: 1 << 32, max: 1 << 30 };
    assert_eq!(CodedVector::from_bytes(&[0; 100], u32::MAX), Err(expected));
}

#[test]
fn too_many_levels_are_refused() {
    assert_eq!(error(head(5, 256, false, &[])), DecodeError::LevelCount { levels: 256 });
    let mut bits = BitString::default();
    bits.push_gamma(5);
    bits.push(0, 40);
    assert_eq!(error(bits), DecodeError::LevelCount { levels: 1 << 32 });
}

#[test]
fn a_bad_codebook_is_refused() {
    use CodebookError::{CentroidNotFinite, CentroidsNotIncreasing};
    let infinite = CentroidNotFinite { index: 0, value: f64::NEG_INFINITY };
    assert_eq!(
        error(head(5, 2, false, &[f32::NEG_INFINITY, 0.0])),
        DecodeError::Codebook(infinite)
    );
    let nan = error(head(5, 2, false, &[0.0, f32::NAN]));
    assert!(matches!(nan, DecodeError::Codebook(CentroidNotFinite { index: 1, .. })));
    let repeated = CentroidsNotIncreasing { index: 1 };
    assert_eq!(error(head(5, 2, false, &[1.0, 1.0])), DecodeError::Codebook(repeated));
    assert_eq!(error(head(5, 1, false, &[-0.0])), DecodeError::NotCanonical);
}

#[test]
fn counts_above_the_dimension_are_refused() {
    let mut bits = head(5, 3, true, &[0.0, 1.0, 2.0]);
    range_coder::encode(&[2, 3], KrichevskyTrofimov::new(4), &mut bits); // digits of 3 and 4
    bits.push(0b1_00, 3);
    let expected = DecodeError::CountsExceedDimension { level: 1, sum: 7, dimension: 5 };
    assert_eq!(error(bits), expected);
}

#[test]
fn the_longer_form_is_refused() {
    let (counts, symbols) = ([4, 1], [0, 0, 1, 0, 0]);
    let mut bits = head(5, 2, true, &[0.0, 1.0]);
    write_counts(&counts, &mut bits);
    range_coder::encode(&symbols, KnownCounts::new(&counts), &mut bits);
    assert_eq!(error(bits), DecodeError::NotCanonical);
}

#[test]
fn bits_outside_every_codeword_are_refused() {
    // The interval ends just below 1, by 2^-128, so a stream of ones decodes to nothing.
    let mut bits = head(5, 2, false, &[0.0, 1.0]);
    for _ in 0..8 {
        bits.push(u64::MAX, 64);
    }
    assert_eq!(error(bits), DecodeError::NoCodeword { index: 0 });
}

#[test]
fn bits_within_the_interval_but_not_its_codeword_are_refused() {
    let mut stream = BitString::default();
    let symbols = [0, 1, 1, 0, 1];
    range_coder::encode(&symbols, KrichevskyTrofimov::new(2), &mut stream);
    let len = stream.len() as u32;
    let word = BitReader::new(&stream.into_bytes()).read(len).unwrap();
    // P = 3/256 is no power of two: the interval holds strings just below or above the codeword's.
    let results = [(word << 8) - 1, (word + 1) << 8].map(|neighbour| {
        let mut bits = head(5, 2, false, &[0.0, 1.0]);
        bits.push(neighbour, len + 8);
        CodedVector::from_bytes(&bits.into_bytes(), 1_000)
    });
    assert!(results.contains(&Err(DecodeError::NotCanonical)), "{results:?}");
    assert!(!results.iter().any(|it| it.as_ref().is_ok_and(|it| it.symbols() == symbols)));
}

#[test]
fn bad_symbols_are_refused() {
    let expected = CodebookError::SymbolOutOfRange { index: 1, symbol: 2, levels: 2 };
    assert_eq!(CodedVector::new(codebook(2), vec![0, 2]), Err(expected));
    assert_eq!(CodedVector::new(codebook(2), vec![]), Err(CodebookError::NoValues));
    assert_eq!(CodedVector::nearest(&[], &[0.0]), Err(CodebookError::NoValues));
    let long = vec![0; CodedVector::MAX_DIMENSION as usize + 1];
    assert!(matches!(
        CodedVector::new(codebook(1), long),
        Err(CodebookError::TooManyValues { .. })
    ));
}

proptest::proptest! {
    #[test]
    fn random_vectors_come_back(
        levels in 1_usize..=255,
        words in proptest::collection::vec(proptest::num::u32::ANY, 1..600),
        sharpness in 0_u32..32,
    ) {
        let symbols = words.iter().map(|it| ((it >> (it % 32).min(sharpness)) as usize % levels) as u8);
        let symbols: Vec<u8> = symbols.collect();
        let vector = CodedVector::new(codebook(levels), symbols).unwrap();
        let bytes = vector.to_bytes();
        proptest::prop_assert_eq!(bytes.len() * 8, vector.length().total());
        proptest::prop_assert_eq!(CodedVector::from_bytes(&bytes, 600), Ok(vector));
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64),
    ) {
        if let Ok((vector, used)) = CodedVector::read_prefix(&bytes, 10_000) {
            proptest::prop_assert_eq!(vector.to_bytes(), &bytes[..used]);
        }
    }
}
