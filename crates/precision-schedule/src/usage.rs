//! How often each width was used.

use std::collections::BTreeMap;

/// Steps by width: of a [`Schedule`](crate::Schedule) before the run, or collected from the widths that a
/// run logged. Costs depend on nothing else.
///
/// ```
/// use precision_schedule::Usage;
///
/// let usage: Usage = [4, 8, 8, 6].into_iter().collect();
/// assert_eq!(usage.by_width().collect::<Vec<_>>(), [(4, 1), (6, 1), (8, 2)]);
/// assert_eq!(usage.mean_bits(), Some(6.5));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<u32, u64>);

impl Usage {
    /// Every width with the number of its steps, at least one, in rising order.
    pub fn by_width(&self) -> impl Iterator<Item = (u32, u64)> {
        self.0.iter().map(|(&bits, &steps)| (bits, steps))
    }

    /// All steps.
    pub fn steps(&self) -> u64 {
        self.0.values().sum()
    }

    /// The mean width of a step; none without a step.
    pub fn mean_bits(&self) -> Option<f64> {
        let steps = self.steps();
        let sum: u128 = self.by_width().map(|(bits, n)| u128::from(bits) * u128::from(n)).sum();
        (steps > 0).then(|| sum as f64 / steps as f64)
    }
}

impl FromIterator<u32> for Usage {
    fn from_iter<I: IntoIterator<Item = u32>>(widths: I) -> Self {
        let mut usage = BTreeMap::new();
        for bits in widths {
            *usage.entry(bits).or_default() += 1;
        }
        Self(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::wolfe_kyrillidis;
    use crate::{ScheduleConfig, Widths};

    #[test]
    fn no_step_has_no_mean() {
        let usage = Usage::default();
        assert_eq!((usage.steps(), usage.mean_bits()), (0, None));
    }

    /// 64 000 steps in 8 cycles from 4 to 8 bits.
    #[test]
    fn steps_at_each_width_of_the_ten_schedules() {
        for (name, expected, mean) in [
            ("CR", [14_728, 12_128, 10_296, 12_128, 14_720], 6.0),
            ("LR", [8_008, 15_992, 16_008, 15_992, 8_000], 6.0),
            ("ER", [2_144, 5_384, 8_168, 17_576, 30_728], 7.084),
            ("RR", [37_648, 17_216, 5_520, 2_720, 896], 4.625),
            ("CT", [14_724, 12_128, 10_296, 12_128, 14_724], 6.0),
            ("LT", [8_004, 15_992, 16_008, 15_992, 8_004], 6.0),
            ("ETV", [16_436, 11_480, 8_168, 11_480, 16_436], 6.0),
            ("ETH", [2_140, 5_384, 8_168, 17_576, 30_732], 7.084),
            ("RTV", [19_272, 9_968, 5_520, 9_968, 19_272], 6.0),
            ("RTH", [37_644, 17_216, 5_520, 2_720, 900], 4.625),
        ] {
            let schedule = wolfe_kyrillidis(name);
            let widths = Widths::new(4..=8).unwrap();
            let usage = ScheduleConfig { widths, schedule }.over(64_000).unwrap().usage();
            let expected: Vec<(u32, u64)> = (4..).zip(expected).collect();
            assert_eq!(usage.by_width().collect::<Vec<_>>(), expected, "{name}");
            assert!((usage.mean_bits().unwrap() - mean).abs() < 6e-4, "{name}");
            assert_eq!(usage.steps(), 64_000);
        }
    }
}
