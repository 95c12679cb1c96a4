//! How numbers are written: in full for machines, to a few digits for people.

/// The shortest digits that give `value` back exactly, or `nan`, `inf`, `-inf`.
pub(crate) fn spell(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

/// `value` to `digits` significant digits, for a person: `2.30`, `0.00120`, `1.20e−9`, `128001`, with
/// every digit before the point, a true minus sign, and words for what is no number.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return spell(value).replace('-', "−");
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = digits.clamp(1, 17);
    let rounded = format!("{value:.*e}", digits - 1); // d.ddde-7, rounded once
    let exponent = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    let text = match exponent {
        Some(it @ -4..0) => format!("{value:.*}", digits + it.unsigned_abs() as usize - 1),
        Some(it @ 0..7) => {
            format!("{value:.*}", digits.saturating_sub(it.unsigned_abs() as usize + 1))
        }
        _ => rounded,
    };
    text.replace('-', "−")
}

/// As [`significant`], without zeros at the end: for ticks, and for what stands alone.
pub(crate) fn compact(value: f64, digits: usize) -> String {
    let text = significant(value, digits);
    let (mantissa, exponent) = text.split_at(text.find('e').unwrap_or(text.len()));
    if mantissa.contains('.') {
        format!("{}{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
    } else {
        text
    }
}

/// A mean and its spread, such as a standard deviation, for a person: the spread to two significant
/// digits, the mean to the same place, as in `5.931 ± 0.012`. Every digit before the point is shown, and
/// what is very large or small has a common power of ten: `(1.20 ± 0.03)e9`.
pub fn with_spread(mean: f64, spread: f64) -> String {
    let largest = mean.abs().max(spread);
    let is_plain = (1e-4..1e7).contains(&largest);
    let is_common = spread > 1e-12 * largest && largest > 1e-300;
    if !mean.is_finite() || !spread.is_finite() || !is_common {
        return format!("{} ± {}", significant(mean, 4), significant(spread, 2));
    }
    let power = if is_plain { 0 } else { exponent(largest, 17) };
    // The last place of the spread, which is rounded once, so that 0.0996 is 0.10.
    let places = (power + 1 - exponent(spread, 2)).max(0).unsigned_abs() as usize;
    let scaled = |value: f64| format!("{:.places$}", value / 10_f64.powi(power)).replace('-', "−");
    let (mean, spread) = (scaled(mean), scaled(spread));
    match power {
        0 => format!("{mean} ± {spread}"),
        _ => format!("({mean} ± {spread})e{power}").replace('-', "−"),
    }
}

/// The power of ten of the first of `digits` digits of `value`, rounded.
fn exponent(value: f64, digits: usize) -> i32 {
    let rounded = format!("{value:.*e}", digits - 1);
    rounded.split_once('e').and_then(|(_, it)| it.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let cases = [
            (0.0, "0", "0"),
            (2.0, "2.00", "2"),
            (2.346, "2.35", "2.35"),
            (9.999, "10.0", "10"),
            (100.0, "100", "100"),
            (-0.001_204_5, "−0.00120", "−0.0012"),
            (0.000_099_99, "0.000100", "0.0001"),
            (1.2e-9, "1.20e−9", "1.2e−9"),
            (128_001.0, "128001", "128001"),
            (5e7, "5.00e7", "5e7"),
            (f64::NAN, "nan", "nan"),
            (f64::NEG_INFINITY, "−inf", "−inf"),
            (f64::MIN_POSITIVE, "2.23e−308", "2.23e−308"),
        ];
        for (value, with_zeros, without) in cases {
            assert_eq!(significant(value, 3), with_zeros);
            assert_eq!(compact(value, 3), without);
        }
    }

    #[test]
    fn a_mean_ends_where_its_spread_does() {
        let cases = [
            (5.930_6, 0.012_4, "5.931 ± 0.012"),
            (5.930_6, 0.099_6, "5.93 ± 0.10"), // rounded up to another place
            (-0.5, 0.25, "−0.50 ± 0.25"),
            (128_001.4, 2345.0, "128001 ± 2345"),
            (0.0, 0.02, "0.000 ± 0.020"),
            (0.001, 3.0, "0.0 ± 3.0"),
            (1.203e9, 3.1e7, "(1.203 ± 0.031)e9"),
            (2e-9, 1e-9, "(2.0 ± 1.0)e−9"),
            (2.0, 0.0, "2.000 ± 0"),
            (2.0, f64::NAN, "2.000 ± nan"),
            (f64::INFINITY, 1.0, "inf ± 1.0"),
            (2.0, -1.0, "2.000 ± −1.0"), // no spread, but what was given
            (2.0, 1e-30, "2.000 ± 1.0e−30"),
            (f64::MAX, f64::MAX, "(1.8 ± 1.8)e308"),
            (5e-324, 5e-324, "4.941e−324 ± 4.9e−324"),
        ];
        for (mean, spread, expected) in cases {
            assert_eq!(with_spread(mean, spread), expected);
        }
    }
}
