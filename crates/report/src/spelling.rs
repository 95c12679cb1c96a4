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

/// `text` in at most `limit` characters: of a longer one the middle is left out, since layer names
/// differ at their ends. Characters that XML cannot hold are replaced.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let is_allowed = |it: char| !it.is_control() && !('\u{fffe}'..='\u{ffff}').contains(&it);
    let characters: Vec<char> =
        text.chars().map(|it| if is_allowed(it) { it } else { '\u{fffd}' }).collect();
    if characters.len() <= limit {
        return characters.into_iter().collect();
    }
    let kept = limit.saturating_sub(1);
    let (head, tail) = (kept / 2, kept - kept / 2);
    let tail = &characters[characters.len() - tail..];
    characters[..head].iter().chain(&['…']).chain(tail).collect()
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
    fn long_names_lose_their_middle() {
        assert_eq!(shorten("h.0.attn", 8), "h.0.attn");
        assert_eq!(shorten("transformer.h.0.attn", 11), "trans….attn");
        assert_eq!(shorten("äöü", 2), "…ü");
        assert_eq!(shorten("abc", 0), "…");
        assert_eq!(shorten("a\u{0}\nb\u{ffff}", 9), "a\u{fffd}\u{fffd}b\u{fffd}");
    }
}
