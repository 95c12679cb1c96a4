//! Intervals from replicates, and what may be said of an exponent that has one.

use serde::{Deserialize, Serialize};

/// A closed interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// What an exponent outside the range of well-trained layers is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Below 2.
    OverTrained,
    /// Above 6.
    UnderTrained,
}

impl Verdict {
    /// The word in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::OverTrained => "over-trained",
            Self::UnderTrained => "under-trained",
        }
    }
}

impl Interval {
    /// The central interval that holds the share `confidence` of `replicates`, its ends interpolated
    /// linearly between order statistics. None without replicates, or if one is NaN.
    pub fn percentile(replicates: &mut [f64], confidence: f64) -> Option<Self> {
        if replicates.is_empty() || replicates.iter().any(|value| value.is_nan()) {
            return None;
        }
        replicates.sort_unstable_by(f64::total_cmp);
        let outside = 0.5 * (1.0 - confidence.clamp(0.0, 1.0));
        Some(Self {
            lower: quantile(replicates, outside),
            upper: quantile(replicates, 1.0 - outside),
        })
    }

    /// Whether `value` lies inside.
    pub fn contains(&self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }

    /// The verdict on an exponent with this interval: only if all of it lies on one side.
    pub fn verdict(&self) -> Option<Verdict> {
        if self.upper < 2.0 {
            Some(Verdict::OverTrained)
        } else if self.lower > 6.0 {
            Some(Verdict::UnderTrained)
        } else {
            None
        }
    }
}

/// The `share` quantile of ascending `sorted`, not empty: R's type 7, NumPy's default.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and len - 1"
)]
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_lie_between_order_statistics() {
        let mut replicates = [5.0, 1.0, 4.0, 2.0, 3.0];
        // places .25 * 4 = 1 and .75 * 4 = 3; then .1 * 4 = .4 and 3.6
        let half = Interval::percentile(&mut replicates, 0.5).unwrap();
        assert_eq!(half, Interval { lower: 2.0, upper: 4.0 });
        let most = Interval::percentile(&mut replicates, 0.8).unwrap();
        assert!((most.lower - 1.4).abs() < 1e-15 && (most.upper - 4.6).abs() < 1e-15, "{most:?}");
        assert!(most.contains(1.5) && !most.contains(1.3));
    }

    #[test]
    fn no_interval_without_numbers() {
        assert_eq!(Interval::percentile(&mut [], 0.95), None);
        assert_eq!(Interval::percentile(&mut [1.0, f64::NAN], 0.95), None);
    }

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let verdict = |lower, upper| Interval { lower, upper }.verdict();
        assert_eq!(verdict(1.2, 1.9), Some(Verdict::OverTrained));
        assert_eq!(verdict(1.2, 2.1), None);
        assert_eq!(verdict(5.9, 9.0), None);
        assert_eq!(verdict(6.1, 9.0), Some(Verdict::UnderTrained));
    }
}
