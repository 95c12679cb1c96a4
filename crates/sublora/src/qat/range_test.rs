//! The precision range test on a run: short trainings from one state, each at one width.
//!
//! Weights, optimiser and the order of the batches are the same before every probe and after the last; a
//! step seeds its own randomness. The decision is [`RangeTest`]'s.

use precision_schedule::{
    Criterion, PrecisionRange, RangeTest, RangeTestError, RangeTestState, Verdict, Widths,
};
use quantizers::BitWidth;

use super::config::QatConfig;
use super::distillation::Visit;
use super::method::{AnyQatMethod, Cyclic, Plan};
use super::run::QatRun;
use crate::Error;

impl QatRun<'_> {
    /// Probes the widths of `range_test` from the beginning of the training of this run, which is then
    /// as it was: a training that follows is the one without a test.
    ///
    /// # Errors
    /// Settings that make no test, widths that are not calibrated, or what failed. A test without an answer
    /// is none: it stands in the verdict, with the curves.
    pub fn range_test(&self) -> Result<Verdict, Error> {
        let test = &self.config.range_test;
        self.check_range_test()?;
        let probe = test.start().map_err(|error| of_test(&error))?;
        let AnyQatMethod::Cyclic(Cyclic { gradient_bits: gradients, .. }) = self.config.method
        else {
            let expected = "cyclic: at 32 bits, which the test compares with, it trains nothing";
            return Err(Error::value("method.kind", &self.config.method.name(), expected));
        };
        self.progress.begin("range test", "probes", test.probes().len() as u64);
        let mut state = RangeTestState::Probe(probe);
        let verdict = self.probed(gradients, |model, prober, data| {
            let mut done = 0;
            loop {
                let probe = match state {
                    RangeTestState::Done(verdict) => return Ok(verdict),
                    RangeTestState::Probe(probe) => probe,
                };
                let bits = width(probe.bits())?;
                let plan = OneWidth { bits, gradients };
                let curve = model.probe(&prober.job(&plan)?, data, test.iterations)?;
                done += 1;
                state = probe.record(curve).map_err(|error| of_test(&error))?;
                let flow = self.progress.update(done, &format!("{bits} bits"));
                if flow.is_break() && matches!(state, RangeTestState::Probe(_)) {
                    return Err(Error::Interrupted);
                }
            }
        })?;
        self.progress.end();
        Ok(verdict)
    }

    /// [`range_test`](Self::range_test), and the run whose schedule has only the widths between which it says
    /// precision should cycle.
    ///
    /// # Errors
    /// As [`range_test`](Self::range_test), a method without a schedule, or a schedule without two of these
    /// widths.
    pub fn between_tested_widths(self) -> Result<(Self, Verdict), Error> {
        let verdict = self.range_test()?;
        let Ok(PrecisionRange { lower, upper, .. }) = verdict.range else {
            return Ok((self, verdict));
        };
        let AnyQatMethod::Cyclic(cyclic) = &self.config.method else {
            let reason = "`method.kind` has no schedule whose widths a range test could choose";
            return Err(Error::Config(reason.to_owned()));
        };
        let mut cyclic = cyclic.clone();
        let within = cyclic.precision.widths.as_slice().iter().copied();
        let within: Vec<u32> = within.filter(|bits| (lower..=upper).contains(bits)).collect();
        if within.len() < 2 {
            let expected =
                format!("at least two widths from {lower} to {upper}, which the test found");
            return Err(Error::value(
                "method.precision.widths",
                &cyclic.precision.widths,
                &expected,
            ));
        }
        cyclic.precision.widths = Widths::new(within).map_err(|error| Error::config(&error))?;
        let config = QatConfig { method: cyclic.into(), ..self.config.clone() };
        config.validate()?;
        Ok((Self { config, ..self }, verdict))
    }

    fn check_range_test(&self) -> Result<(), Error> {
        let RangeTest { widths, criterion, iterations, .. } = &self.config.range_test;
        if let Criterion::Accuracy { .. } = criterion {
            let reason = "`range_test.criterion.kind` is accuracy, expected loss-slope: a language \
                          model is probed by its loss";
            return Err(Error::Config(reason.to_owned()));
        }
        if *iterations > self.config.train.steps {
            let expected = format!("at most `train.steps` {}", self.config.train.steps);
            return Err(Error::value("range_test.iterations", iterations, &expected));
        }
        self.config.check_widths("range_test.widths", widths)
    }
}

fn of_test(error: &RangeTestError) -> Error {
    Error::Config(format!("`range_test`: {error}"))
}

fn width(bits: u32) -> Result<BitWidth, Error> {
    let known = u8::try_from(bits).ok().and_then(|bits| BitWidth::new(bits).ok());
    known.ok_or_else(|| Error::value("range_test.widths", &bits, "1 to 16"))
}

/// Every step at one width.
struct OneWidth {
    bits: BitWidth,
    gradients: BitWidth,
}

impl Plan for OneWidth {
    fn visits(&self, _step: u64) -> Vec<Visit> {
        vec![Visit::alone(self.bits)]
    }

    fn gradients(&self) -> BitWidth {
        self.gradients
    }
}
