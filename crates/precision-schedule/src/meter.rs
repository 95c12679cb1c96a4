//! What a step costs at each width.
//!
//! # Definition
//! A multiplication of an operand of $u$ bits with one of $v$ bits costs $uv$ BitOPs. A
//! multiply-accumulate of a layer with weights of $b_w$, activations of $b_a$ and gradients of $b_g$ bits
//! costs
//! $$ b_w b_a\ (\text{forward}), \qquad b_w b_g\ (\text{gradient of the input}), \qquad
//!    b_a b_g\ (\text{gradient of the weights}). $$
//! Where operands have the width $b$ of the schedule or a fixed one, the cost of a step is a polynomial,
//! $$ C(b) = q b^2 + l b + c, $$
//! and that of a run is $\sum_b n_b C(b)$ over the $n_b$ steps at each width: in integers, so the sum of a
//! log is the sum of the schedule.
//!
//! CPT's meter is $C(b) = b^2 + 2 b b_g$ for one multiply-accumulate: everything at one width, every
//! weight trained, and a third of it in relation to $32^2$ where it is given as a fraction of full
//! precision.
//!
//! # Reference
//! Y. Fu et al., arXiv:2101.09868. Code: GATECH-EIC/CPT, `cpt_cifar/train.py` (`fw_cost`, `eb_cost`,
//! `gc_cost`), and wolfecameron/BetterPrecisionSchedules, `cpt_cifar/compute_gbitops.py`.
//!
//! # Notes on the reference implementation
//! Its costs leave out whatever is not quantised, which in a GPT-2 can be most: use
//! [`Gpt2Shape::meter`](crate::Gpt2Shape::meter) beside it.

use std::iter::Sum;
use std::ops::Add;

use serde::Serialize;

use crate::{Usage, Widths};

/// The BitOPs of a step as a polynomial of its width.
///
/// ```
/// use precision_schedule::{Meter, ScheduleConfig, Widths};
///
/// let widths = Widths::new(4..=8)?;
/// let usage = ScheduleConfig { widths, ..Default::default() }.over(64_000)?.usage(); // CR
/// let saved = 1.0 - Meter::cpt(8).relative(&usage, 8).unwrap();
/// assert_eq!(format!("{saved:.3}"), "0.301"); // the paper has 30.2 %
/// # Ok::<(), precision_schedule::ScheduleError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    pub(crate) quadratic: u128,
    pub(crate) linear: u128,
    pub(crate) constant: u128,
}

/// The width of a static training that costs what a schedule does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MatchedWidth {
    /// The real number $b$ with $C(b)$ the mean cost of the steps.
    pub exact: f64,
    /// The largest whole width that costs no more.
    pub below: u32,
    /// The smallest whole width that costs no less.
    pub above: u32,
    /// The cost of a static training at `below`, of that of the schedule: at most 1.
    pub cost_below: f64,
    /// The same at `above`: at least 1.
    pub cost_above: f64,
}

impl Meter {
    /// CPT's meter at gradients of `gradient_bits`: BitOPs of a multiply-accumulate in a training step.
    pub fn cpt(gradient_bits: u32) -> Self {
        Self { quadratic: 1, linear: 2 * u128::from(gradient_bits), constant: 0 }
    }

    /// Whether a step costs more at a higher width: whether any operand has that of the schedule.
    pub fn is_scheduled(&self) -> bool {
        self.quadratic + self.linear > 0
    }

    /// The cost of a step at `bits`.
    pub fn step(&self, bits: u32) -> u128 {
        let bits = u128::from(bits);
        let scheduled = self.quadratic.saturating_mul(bits).saturating_add(self.linear);
        scheduled.saturating_mul(bits).saturating_add(self.constant)
    }

    /// The cost of a run. What exceeds a `u128` is `u128::MAX`; no run of these widths does.
    pub fn run(&self, usage: &Usage) -> u128 {
        let costs = usage.by_width().map(|(bits, n)| u128::from(n).saturating_mul(self.step(bits)));
        costs.fold(0, u128::saturating_add)
    }

    /// The cost of a run, of that of as many steps at `static_bits`. None without a step, or where
    /// nothing costs anything.
    pub fn relative(&self, usage: &Usage, static_bits: u32) -> Option<f64> {
        let run = u128::from(usage.steps()).saturating_mul(self.step(static_bits));
        (run > 0).then(|| self.run(usage) as f64 / run as f64)
    }

    /// The width of a static training of the same length and cost, what a schedule has to be compared
    /// with. None without a step, if the cost is that of every width, or if it is above that of 32 bits.
    pub fn matched(&self, usage: &Usage) -> Option<MatchedWidth> {
        let (run, steps) = (self.run(usage), u128::from(usage.steps()));
        if run == 0 || !self.is_scheduled() {
            return None;
        }
        // The stable root of q b^2 + l b = rest.
        let (q, l) = (self.quadratic as f64, self.linear as f64);
        let rest = run as f64 / steps as f64 - self.constant as f64;
        let exact = 2.0 * rest / (l + (l * l + 4.0 * q * rest).sqrt());
        let cost = |bits| steps.saturating_mul(self.step(bits));
        let above = (0..=Widths::FULL).find(|&bits| cost(bits) >= run)?;
        let below = (0..=above).rev().find(|&bits| cost(bits) <= run)?;
        let [cost_below, cost_above] = [below, above].map(|bits| cost(bits) as f64 / run as f64);
        Some(MatchedWidth { exact, below, above, cost_below, cost_above })
    }
}

impl Add for Meter {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            quadratic: self.quadratic + other.quadratic,
            linear: self.linear + other.linear,
            constant: self.constant + other.constant,
        }
    }
}

impl Sum for Meter {
    fn sum<I: Iterator<Item = Self>>(meters: I) -> Self {
        meters.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{nonzero, wolfe_kyrillidis};
    use crate::{AnyPrecisionSchedule, CosineWave, ScheduleConfig, TriangularWave};

    fn usage(schedule: AnyPrecisionSchedule, low: u32, high: u32) -> Usage {
        let widths = Widths::new(low..=high).unwrap();
        ScheduleConfig { widths, schedule }.over(64_000).unwrap().usage()
    }

    /// 8 cycles in 64 000 steps, gradients of 8 bits, of static training at the highest width.
    #[test]
    fn relative_costs_of_the_ten_schedules() {
        let ranges = [(3, 8), (4, 8), (5, 8), (4, 6), (3, 6), (5, 6)];
        for (name, expected) in [
            ("RR", [0.3990, 0.5011, 0.6106, 0.6564, 0.5111, 0.8140]),
            ("RTH", [0.3990, 0.5012, 0.6106, 0.6564, 0.5111, 0.8141]),
            ("LR", [0.6276, 0.6953, 0.7665, 0.7992, 0.7058, 0.8977]),
            ("LT", [0.6276, 0.6953, 0.7665, 0.7992, 0.7058, 0.8977]),
            ("CR", [0.6334, 0.6990, 0.7686, 0.8005, 0.7088, 0.8977]),
            ("CT", [0.6334, 0.6991, 0.7686, 0.8005, 0.7089, 0.8977]),
            ("ETV", [0.6348, 0.7001, 0.7692, 0.8009, 0.7098, 0.8977]),
            ("RTV", [0.6373, 0.7017, 0.7702, 0.8015, 0.7112, 0.8977]),
            ("ER", [0.8224, 0.8581, 0.8951, 0.9155, 0.8676, 0.9645]),
            ("ETH", [0.8225, 0.8582, 0.8951, 0.9155, 0.8676, 0.9645]),
        ] {
            for ((low, high), expected) in ranges.into_iter().zip(expected) {
                let usage = usage(wolfe_kyrillidis(name), low, high);
                let relative = Meter::cpt(8).relative(&usage, high).unwrap();
                assert!((relative - expected).abs() < 6e-5, "{name} {low}-{high}: {relative}");
            }
        }
        let relative = Meter::cpt(6).relative(&usage(wolfe_kyrillidis("CR"), 4, 6), 6).unwrap();
        assert_eq!(format!("{relative:.4}"), "0.7932");
    }

    #[test]
    fn waves_cost_what_their_halves_do() {
        let cycles = nonzero(8);
        let cost = |schedule| Meter::cpt(8).relative(&usage(schedule, 4, 8), 8).unwrap();
        let [cr, lr] = ["CR", "LR"].map(|name| cost(wolfe_kyrillidis(name)));
        assert!((cost(CosineWave { cycles }.into()) - cr).abs() < 1e-4);
        assert!((cost(TriangularWave { cycles }.into()) - lr).abs() < 1e-4);
    }

    #[test]
    fn a_step_of_cpt_by_hand() {
        // 8/8: 64 forward and 64 in each gradient; a third of it is a sixteenth of 32^2.
        assert_eq!(Meter::cpt(8).step(8), 3 * 64);
        assert_eq!(Meter::cpt(8).step(8) as f64 / (3.0 * 32.0 * 32.0), 0.0625);
        // 4/8: 16 + 2 * 32.
        assert_eq!(Meter::cpt(8).step(4), 80);
    }

    #[test]
    fn a_logged_run_costs_the_closed_form() {
        let log = [4, 4, 6, 8, 8, 8];
        let meter = Meter::cpt(8);
        let summed: u128 = log.iter().map(|&bits| meter.step(bits)).sum();
        // 2 (16 + 64) + (36 + 96) + 3 (64 + 128)
        assert_eq!(summed, 868);
        assert_eq!(meter.run(&log.into_iter().collect()), summed);
    }

    #[test]
    fn matched_static_widths() {
        // Half of the steps at 4 (80), half at 8 (192): 136 = b^2 + 16 b at b = sqrt(200) - 8 = 6.14.
        let matched = Meter::cpt(8).matched(&[4, 8].into_iter().collect()).unwrap();
        assert!((matched.exact - (200_f64.sqrt() - 8.0)).abs() < 1e-12);
        assert_eq!((matched.below, matched.above), (6, 7));
        // 36 + 96 = 132 and 49 + 112 = 161.
        assert_eq!((matched.cost_below, matched.cost_above), (132.0 / 136.0, 161.0 / 136.0));
        // A static schedule is its own match, also without gradients and where only one operand cycles.
        let only_linear = Meter { quadratic: 0, linear: 3, constant: 70 };
        for meter in [Meter::cpt(8), Meter::cpt(0), only_linear] {
            let matched = meter.matched(&[7; 5].into_iter().collect()).unwrap();
            assert!((matched.exact - 7.0).abs() < 1e-12);
            let expected = (7, 7, 1.0, 1.0);
            let MatchedWidth { below, above, cost_below, cost_above, .. } = matched;
            assert_eq!((below, above, cost_below, cost_above), expected);
        }
    }

    #[test]
    fn what_a_schedule_changes() {
        assert!(Meter::cpt(0).is_scheduled());
        assert!(Meter { linear: 1, ..Meter::default() }.is_scheduled());
        assert!(!Meter { constant: 1, ..Meter::default() }.is_scheduled());
    }

    #[test]
    fn nothing_to_match() {
        let usage = [4, 8].into_iter().collect();
        assert_eq!(Meter { constant: 5, ..Meter::default() }.matched(&usage), None);
        assert_eq!(Meter::cpt(8).matched(&Usage::default()), None);
        assert_eq!(Meter::cpt(8).relative(&Usage::default(), 8), None);
        assert_eq!(Meter::default().relative(&usage, 8), None);
        // Widths of no schedule, but perhaps of a log.
        let beyond = [u32::MAX; 2].into_iter().collect();
        let meter = Meter { quadratic: 1 << 53, linear: 1 << 53, constant: 1 << 53 };
        assert_eq!(meter.matched(&beyond), None);
        let most = Meter { quadratic: 1 << 67, ..Meter::default() };
        assert_eq!(most.run(&beyond), u128::MAX);
        assert_eq!(Meter::cpt(8).matched(&[0].into_iter().collect()), None);
    }
}
