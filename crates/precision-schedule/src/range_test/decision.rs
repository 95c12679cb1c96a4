//! From curves to a verdict.

use super::{
    Criterion, Evidence, PrecisionRange, Probe, RangeTest, RangeTestState, Undecided, Upper,
    Verdict,
};
use crate::{Gain, RangeTestError, Widths};

impl Probe {
    /// The width to train at; 32 is full precision.
    pub fn bits(&self) -> u32 {
        // A probe is only made while there is a width left.
        self.test.probes()[self.evidence.len()]
    }

    /// Takes the loss or accuracy of every iteration at [`bits`](Self::bits). A curve with a value that is
    /// not finite may be shorter: training may stop there.
    ///
    /// # Errors
    /// [`RangeTestError::Curve`] for one of another length.
    pub fn record(mut self, curve: Vec<f64>) -> Result<RangeTestState, RangeTestError> {
        let (bits, expected) = (self.bits(), self.test.iterations);
        let found = curve.len();
        if found as u64 != expected && curve.iter().all(|value| value.is_finite()) {
            return Err(RangeTestError::Curve { bits, found, expected });
        }
        let gain = Gain::slope(&curve).map(|slope| self.test.gain(slope));
        self.evidence.push(Evidence { bits, curve, gain });
        let is_over = self.evidence.len() == self.test.probes().len();
        if is_over || self.test.reference(&self.evidence).is_err() {
            let range = self.test.decide(&self.evidence);
            return Ok(RangeTestState::Done(Verdict { range, evidence: self.evidence }));
        }
        Ok(RangeTestState::Probe(self))
    }
}

impl RangeTest {
    /// The gain of a slope, in the units of the criterion.
    fn gain(&self, slope: Gain) -> Gain {
        match self.criterion {
            Criterion::LossSlope { .. } => slope.scaled(-1.0),
            Criterion::Accuracy { .. } => slope.scaled((self.iterations - 1) as f64),
        }
    }

    /// The gain at full precision; 0 where nothing is compared with it.
    fn reference(&self, evidence: &[Evidence]) -> Result<f64, Undecided> {
        if !self.needs_reference() {
            return Ok(0.0);
        }
        let full = evidence.iter().find(|it| it.bits == Widths::FULL);
        let gain = full.and_then(|it| it.gain).filter(Gain::is_positive);
        gain.map(|gain| gain.value).ok_or(Undecided::NoReference { iterations: self.iterations })
    }

    fn decide(&self, evidence: &[Evidence]) -> Result<PrecisionRange, Undecided> {
        let reference = self.reference(evidence)?;
        let highest = evidence.iter().map(|it| it.bits).filter(|&bits| bits < Widths::FULL).max();
        let highest = highest.unwrap_or_default();
        let first = |from: u32, threshold: f64| {
            let reaches = |gain: Gain| gain.value >= threshold && gain.is_positive();
            let candidates = evidence.iter().filter(|it| (from..Widths::FULL).contains(&it.bits));
            candidates.filter(|it| it.gain.is_some_and(reaches)).map(|it| it.bits).min()
        };
        let threshold = match self.criterion {
            Criterion::LossSlope { fraction } => fraction * reference,
            Criterion::Accuracy { threshold } => threshold,
        };
        let lower = first(0, threshold).ok_or(Undecided::NoLower { highest, threshold })?;
        let upper = match self.upper {
            Upper::Static { bits } => bits,
            Upper::Plateau { fraction } => {
                let threshold = fraction * reference;
                let none = Undecided::NoPlateau { lower, highest, threshold };
                first(lower, threshold).ok_or(none)?
            }
        };
        Ok(PrecisionRange { lower, upper, threshold })
    }
}
