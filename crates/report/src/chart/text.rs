//! How much room a text takes, and what is left of it where there is less.

use crate::spelling::shorten;

/// `text`, shortened in the middle until it fits into `width` pixels.
pub(crate) fn fit(text: &str, size: u32, width: f64) -> String {
    let most = (width.max(0.0) / (0.28 * f64::from(size))).ceil(); // of the narrowest characters
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, small")]
    let mut limit = text.chars().count().min(most as usize);
    loop {
        let shortened = shorten(text, limit);
        if limit <= 1 || text_width(&shortened, size) <= width {
            return shortened;
        }
        limit -= 1;
    }
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
}
