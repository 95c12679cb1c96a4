//! Lengths of descriptions, in bits.
//!
//! A certificate pays the measured length of its artifact; these formulas say what to expect of one,
//! reproduce published accountings, and price the choices around it. With $d$ symbols of $L$ levels,
//! counts $c_k$ and empirical entropy $H$:
//!
//! - *parity*: $C = \lceil dH \rceil + 1 + 16 L + L \lceil \log_2 d \rceil$, $K = C + 2 \log_2 C$. A
//!   count equal to $d$ does not fit its field, and $\sum_C C^{-2} = \pi^2/6 > 1$: 0.718 bits short of
//!   Kraft's inequality.
//! - *strict*: $\lceil \log_2 (d + 1) \rceil$ for each count and Elias gamma for $C$,
//!   $K = C + 2 \lfloor \log_2 C \rfloor + 1$.
//! - *Krichevsky-Trofimov*: probability $(c_k(t) + 1/2)/(t + L/2)$ for the next symbol, no table,
//!   $-\log_2 \bigl[ \Gamma(L/2) / \Gamma(d + L/2) \prod_k \Gamma(c_k + 1/2) / \Gamma(1/2) \bigr]$.
//! - *enumerative*: the place among the $\binom{d + L - 1}{L - 1}$ histograms, then among the
//!   $d! / \prod_k c_k!$ strings of that histogram.
//!
//! # Reference
//! Parity: S. Lotfi et al., *Non-Vacuous Generalization Bounds for Large Language Models*, ICML 2024,
//! arXiv:2312.17173, and its code. R. Krichevsky and V. Trofimov, *The performance of universal
//! encoding*, 1981. T. Cover, *Enumerative source encoding*, 1973.

use std::f64::consts::LN_2;
use std::num::NonZeroU64;

use statrs::function::gamma::ln_gamma;

use crate::{Bits, BoundError};

/// Bits of an fp16 centroid.
const CENTROID: u64 = 16;

/// The reference's length of a quantised vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Length {
    /// The entropy-coded symbols alone.
    pub symbols: u64,
    /// $C$: with codebook, counts and structure.
    pub raw: u64,
    /// $K$: made prefix-free.
    pub prefix_free: Bits,
}

/// The accounting of the published code, for `counts`, `[levels]`.
///
/// # Errors
/// If all counts are 0 or their sum exceeds $2^{48}$.
pub fn parity(counts: &[u64]) -> Result<Length, BoundError> {
    let total = total(counts)?;
    let levels = counts.len() as u64;
    let symbols = symbols(counts, total);
    let raw = symbols + CENTROID * levels + levels * u64::from(ceil_log2(total.get()));
    Ok(Length { symbols, raw, prefix_free: Bits::whole(raw) + lengthen(raw as f64) })
}

/// The same with its two flaws mended, and `structure` bits for whatever else the decoder needs.
///
/// # Errors
/// If all counts are 0 or their sum exceeds $2^{48}$, or `structure` does.
pub fn strict(counts: &[u64], structure: u64) -> Result<Length, BoundError> {
    let total = total(counts)?;
    let levels = counts.len() as u64;
    let symbols = symbols(counts, total);
    if structure > MAX_TOTAL {
        return Err(BoundError::Length(structure as f64));
    }
    let table = CENTROID * levels + levels * u64::from(ceil_log2(total.get() + 1));
    let raw = symbols + table + structure;
    let gamma = elias_gamma(raw).unwrap_or(0); // raw is at least 1: the terminating bit
    Ok(Length { symbols, raw, prefix_free: Bits::whole(raw + gamma) })
}

/// Elias' gamma code of `n`: $2 \lfloor \log_2 n \rfloor + 1$ bits.
///
/// # Errors
/// If `n` is 0, which has none.
pub fn elias_gamma(n: u64) -> Result<u64, BoundError> {
    let log = n.checked_ilog2().ok_or(BoundError::Zero("integer in Elias' gamma code"))?;
    Ok(2 * u64::from(log) + 1)
}

/// Adaptive Krichevsky-Trofimov code of a string with `counts`, `[levels]`, without codebook and
/// termination.
///
/// # Errors
/// If all counts are 0 or their sum exceeds $2^{48}$.
pub fn krichevsky_trofimov(counts: &[u64]) -> Result<Bits, BoundError> {
    let total = total(counts)?.get() as f64;
    let half = counts.len() as f64 / 2.0;
    let symbols: f64 = counts.iter().map(|&c| ln_gamma(c as f64 + 0.5) - ln_gamma(0.5)).sum();
    Bits::new(((ln_gamma(total + half) - ln_gamma(half) - symbols) / LN_2).max(0.0))
}

/// An enumerative code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Enumerative {
    /// The place of the string among those with its histogram.
    pub string: Bits,
    /// The place of the histogram.
    pub histogram: Bits,
}

/// Enumerative code of a string with `counts`, `[levels]`, in fractional bits.
///
/// # Errors
/// If all counts are 0 or their sum exceeds $2^{48}$.
pub fn enumerative(counts: &[u64]) -> Result<Enumerative, BoundError> {
    let total = total(counts)?.get() as f64;
    let levels = counts.len() as f64;
    let ln_factorial = |n: f64| ln_gamma(n + 1.0);
    let rest: f64 = counts.iter().map(|&c| ln_factorial(c as f64)).sum();
    let string = (ln_factorial(total) - rest) / LN_2;
    let histograms =
        ln_factorial(total + levels - 1.0) - ln_factorial(levels - 1.0) - ln_factorial(total);
    Ok(Enumerative {
        string: Bits::new(string.max(0.0))?,
        histogram: Bits::new((histograms / LN_2).max(0.0))?,
    })
}

/// One of `options` declared beforehand, in whole bits: $\lceil \log_2 \rceil$. For a sweep that is
/// their product, for an allocation ratio its grid, for seeds those tried.
pub fn choice(options: NonZeroU64) -> u64 {
    u64::from(ceil_log2(options.get()))
}

/// What the reference adds to $K$ at the `place`-th of its eight smoothing weights, 1 to 8, on top of
/// the 7 bits of its settings: 8 bits more at every weight it tries, where 3 in all would do.
pub fn parity_quirk(place: u64) -> Bits {
    Bits::whole(place.saturating_mul(8))
}

/// Largest total for which lengths neither overflow nor lose whole bits in an `f64`.
const MAX_TOTAL: u64 = 1 << 48;

fn total(counts: &[u64]) -> Result<NonZeroU64, BoundError> {
    let total = counts
        .iter()
        .try_fold(0_u64, |sum, &count| sum.checked_add(count))
        .filter(|&total| total <= MAX_TOTAL)
        .ok_or(BoundError::Length(f64::INFINITY))?;
    NonZeroU64::new(total).ok_or(BoundError::Zero("number of symbols"))
}

/// $\lceil dH \rceil + 1$.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= dH < 2^57")]
fn symbols(counts: &[u64], total: NonZeroU64) -> u64 {
    entropy(counts, total.get() as f64).ceil() as u64 + 1
}

/// $dH$.
fn entropy(counts: &[u64], total: f64) -> f64 {
    let present = counts.iter().filter(|&&count| count > 0).map(|&count| count as f64);
    present.map(|count| count * (total / count).log2()).sum()
}

fn lengthen(raw: f64) -> Bits {
    Bits::new(2.0 * raw.log2()).unwrap_or(Bits::ZERO) // raw is at least 1
}

fn ceil_log2(n: u64) -> u32 {
    n.checked_sub(1).and_then(u64::checked_ilog2).map_or(0, |log| log + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    /// A trained vector of 4096 coefficients at eleven levels.
    const COUNTS: [u64; 11] = [1, 27, 137, 466, 869, 1087, 876, 445, 144, 40, 4];

    #[test]
    fn a_trained_vector() {
        assert_close(entropy(&COUNTS, 4_096.0), 10_741.596_108_08, 1e-12);
        assert_close(entropy(&COUNTS, 4_096.0) / 4_096.0, 2.622_459_987_324_697, 1e-12);
        let parity = parity(&COUNTS).unwrap();
        assert_eq!((parity.symbols, parity.raw), (10_743, 11_051)); // + 16 * 11 + 12 * 11
        assert_close(parity.prefix_free.get(), 11_077.863_779, 1e-10);
        let strict = strict(&COUNTS, 0).unwrap();
        assert_eq!((strict.symbols, strict.raw), (10_743, 11_062)); // + 16 * 11 + 13 * 11
        assert_eq!(strict.prefix_free.get(), 11_089.0); // + 2 * 13 + 1
        assert_close(krichevsky_trofimov(&COUNTS).unwrap().get(), 10_791.793_646, 1e-10);
        let enumerative = enumerative(&COUNTS).unwrap();
        assert_close(enumerative.string.get(), 10_697.366, 1e-7);
        assert_close(enumerative.histogram.get(), 98.228, 1e-5);
    }

    #[test]
    fn small_histograms() {
        let even = strict(&[1, 1], 0).unwrap();
        assert_eq!((even.raw, even.prefix_free.get()), (39, 50.0)); // 3 + 32 + 4; + 11
        let single = strict(&[4, 0], 0).unwrap();
        // 1 + 32 + 6; + 11
        assert_eq!((single.symbols, single.raw, single.prefix_free.get()), (1, 39, 50.0));
        for (counts, bits) in [
            (&[1, 1][..], 3.0), // 1/2 * 1/4
            (&[4, 0], 1.870_716_983_1),
            (&[2, 2], 5.415_037_499_3),
            (&[10, 0, 0], 4.392_317_422_8),
        ] {
            assert_close(krichevsky_trofimov(counts).unwrap().get(), bits, 1e-10);
        }
    }

    #[test]
    fn integers_and_choices() {
        let lengths = [1, 2, 3, 4, 7, 8].map(|n| elias_gamma(n).unwrap());
        assert_eq!(lengths, [1, 3, 3, 5, 5, 7]);
        let choices = [1, 2, 3, 144, 1 << 63].map(|n| choice(NonZeroU64::new(n).unwrap()));
        assert_eq!(choices, [0, 1, 2, 8, 63]); // 144: the published SubLoRA sweep
        assert_eq!(parity_quirk(8).get(), 64.0); // 7 + 64 = 71 at the last weight
    }

    #[test]
    fn nothing_to_describe_is_refused() {
        assert_eq!(elias_gamma(0), Err(BoundError::Zero("integer in Elias' gamma code")));
        for counts in [&[][..], &[0, 0]] {
            assert_eq!(parity(counts), Err(BoundError::Zero("number of symbols")));
            assert_eq!(strict(counts, 0), Err(BoundError::Zero("number of symbols")));
        }
        assert!(matches!(krichevsky_trofimov(&[u64::MAX, 2]), Err(BoundError::Length(_))));
        assert!(matches!(enumerative(&[u64::MAX]), Err(BoundError::Length(_))));
        assert!(matches!(strict(&[1, 1], u64::MAX), Err(BoundError::Length(_))));
    }
}
