//! Where a method helps and where it hurts.

use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::QatComparison;
use super::methods::Method;
use super::runs::ComparedRun;
use crate::paired::{Paired, holm};
use crate::qat::record::WidthRecord;
use crate::sweep::Spread;

/// A method beside another at a width and stride. Losses are in nats per token; a difference is the
/// method's less the reference's, of runs with the same seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Name of the method.
    pub method: String,
    /// What it is compared with: a method that learned at fewer widths.
    pub reference: String,
    /// Of the weights.
    pub bits: u8,
    /// Tokens by which windows slide.
    pub stride: u64,
    /// Seeds that both have.
    pub pairs: usize,
    /// Mean over them.
    pub difference: f64,
    /// Its interval of 95 % by Student's distribution, not adjusted; none of one pair or of equal ones.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
    /// Student's test of a difference of zero, two-sided.
    pub p: Option<f64>,
    /// Adjusted for all tests at this stride (Holm).
    pub p_adjusted: Option<f64>,
    /// BitOPs of the method's training over those of the reference's, mean over the pairs; none of a
    /// reference without training.
    pub bit_ops_ratio: Option<f64>,
    /// On which side of zero the interval is.
    pub verdict: Verdict,
}

/// On which side of zero an interval of 95 % lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Below it: the loss is lower.
    Helps,
    /// Above it: the loss is higher.
    Hurts,
    /// On both, or there is none.
    Undecided,
    /// All differences are zero.
    Same,
}

impl Verdict {
    fn of(differences: &[f64], interval: Option<(f64, f64)>) -> Self {
        match interval {
            Some((_, high)) if high < 0.0 => Self::Helps,
            Some((low, _)) if low > 0.0 => Self::Hurts,
            None if differences.iter().all(|&it| it == 0.0) => Self::Same,
            _ => Self::Undecided,
        }
    }
}

impl QatComparison {
    /// Stride by stride, method by method, reference by reference, width by width.
    pub(super) fn tested(&self) -> Vec<Difference> {
        let (mut methods, bits, mut rows) = (self.methods(), self.bits(), Vec::new());
        methods.sort_by_key(|it| std::cmp::Reverse(it.learned));
        for text in &self.texts {
            let mut of_stride = Vec::new();
            for method in &methods {
                for reference in methods.iter().filter(|it| it.learned < method.learned) {
                    let test = |&bits| tested(method, reference, bits, text.stride);
                    of_stride.extend(bits.iter().filter_map(test));
                }
            }
            let adjusted = holm(&of_stride.iter().map(|it| it.p).collect::<Vec<_>>());
            of_stride.iter_mut().zip(adjusted).for_each(|(row, p)| row.p_adjusted = p);
            rows.extend(of_stride);
        }
        rows
    }
}

/// None of methods without a seed in common there.
fn tested(
    method: &Method<'_>,
    reference: &Method<'_>,
    bits: BitWidth,
    stride: u64,
) -> Option<Difference> {
    let (mut differences, mut ratios) = (Vec::new(), Vec::new());
    for (run, found) in method.at(bits, stride) {
        let same = |it: &(&ComparedRun, &WidthRecord)| it.0.seed() == run.seed();
        let Some((other, expected)) = reference.at(bits, stride).find(same) else { continue };
        differences.push(found.nats_per_token - expected.nats_per_token);
        ratios.extend(run.training_bit_ops().zip(other.training_bit_ops()).map(|it| it.0 / it.1));
    }
    let student = Paired::of(&differences).and_then(|it| it.student);
    let interval = student.map(|it| it.interval);
    Some(Difference {
        method: method.name.to_owned(),
        reference: reference.name.to_owned(),
        bits: bits.get(),
        stride,
        pairs: differences.len(),
        difference: Spread::of(&differences)?.mean,
        low: interval.map(|it| it.0),
        high: interval.map(|it| it.1),
        p: student.map(|it| it.p),
        p_adjusted: None,
        bit_ops_ratio: Spread::of(&ratios).map(|it| it.mean),
        verdict: Verdict::of(&differences, interval),
    })
}
