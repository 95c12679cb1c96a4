//! How much room a text takes, and what becomes of it where there is less.

use crate::names::{pieces, shorten, shorten_all};

/// `text`, shortened in the middle until it fits into `width` pixels.
pub(crate) fn fit(text: &str, size: u32, width: f64) -> String {
    shorten(text, width, |it| text_width(it, size))
}

/// The names of one list, shortened together until each fits into `width` pixels.
pub(crate) fn fit_all<S: AsRef<str>>(names: &[S], size: u32, width: f64) -> Vec<String> {
    shorten_all(names, width, |it| text_width(it, size))
}

/// `text` in at most `most` lines of `width` pixels, broken after the parts of names; of what does not
/// fit into the last line, the middle is left out.
pub(crate) fn wrap(text: &str, size: u32, width: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces(text) {
        let count = lines.len();
        let line = lines.last_mut();
        let fits = |line: &String| text_width(&format!("{line}{piece}"), size) <= width;
        match line.filter(|line| count == most || fits(line)) {
            Some(line) => line.push_str(piece),
            None => lines.push(piece.to_owned()),
        }
    }
    lines.iter().map(|line| fit(line.trim_end(), size, width)).collect()
}

/// How wide `text` is in DejaVu Sans, the widest of the fonts; of what is not ASCII, an upper bound for
/// nearly all of it.
pub(crate) fn text_width(text: &str, size: u32) -> f64 {
    /// From the space to the tilde, in hundredths of the size, rounded up.
    const ADVANCES: [u8; 95] = [
        32, 41, 46, 84, 64, 96, 78, 28, 40, 40, 50, 84, 32, 37, 32, 34, 64, 64, 64, 64, 64, 64, 64,
        64, 64, 64, 34, 34, 84, 84, 84, 54, 100, 69, 69, 70, 78, 64, 58, 78, 76, 30, 30, 66, 56,
        87, 75, 79, 61, 79, 70, 64, 62, 74, 69, 99, 69, 62, 69, 40, 34, 40, 84, 50, 50, 62, 64, 55,
        64, 62, 36, 64, 64, 28, 28, 58, 28, 98, 64, 62, 64, 64, 42, 53, 40, 64, 60, 82, 60, 60, 53,
        64, 34, 64, 84,
    ];
    let advance = |it: char| {
        let index = (it as usize).checked_sub(' ' as usize);
        u32::from(index.and_then(|it| ADVANCES.get(it)).copied().unwrap_or(100))
    };
    f64::from(size) / 100.0 * f64::from(text.chars().map(advance).sum::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_loses_its_middle() {
        assert!((text_width("a…", 10) - 16.2).abs() < 1e-9); // 0.62 and 1.00 em
        assert_eq!(fit("h.0.attn", 10, 100.0), "h.0.attn");
        let shortened = fit("transformer.h.0.attn.c_attn.weight", 10, 100.0);
        assert!(shortened.starts_with("trans") && shortened.ends_with("weight"), "{shortened}");
        assert!(text_width(&shortened, 10) <= 100.0);
        assert_eq!(fit("abc", 10, -5.0), "…");
    }

    #[test]
    fn a_title_is_broken_between_its_parts() {
        // "transformer.h.0." is 82.7 pixels wide, and "attn." 23.8.
        let lines = |most| wrap("transformer.h.0.attn.c_attn.weight", 10, 100.0, most);
        assert_eq!(lines(3), ["transformer.h.0.", "attn.c_attn.weight"]);
        let [line] = &lines(1)[..] else { panic!("{:?}", lines(1)) };
        assert!(
            line.starts_with("trans") && line.ends_with("weight") && line.contains('…'),
            "{line}"
        );
        assert!(wrap("", 10, 100.0, 3).is_empty());
    }
}
