//! Steps that are taken and undone.

use std::ops::Range;

use burn::module::Module;
use corpus::WindowSampler;

use super::objective::Objective;
use super::step::Slope;
use super::{Parameters, Trainer};
use crate::Error;

impl Trainer<'_> {
    /// Takes `steps`, with their windows and learning rates, and goes back to where it began: `model` and
    /// `parameters` are then what they were. Dropout is seeded at every step, so that nothing else is left of
    /// the probe but the width that `objective` set last. Nothing is written.
    ///
    /// Returns the cross-entropy of every step before it is taken, in nats, as a training would log it; up
    /// to the first that is no finite number.
    ///
    /// # Errors
    /// What a step can fail with; the state is restored all the same, if the device still can.
    pub fn probe<M: Module>(
        &self,
        model: &M,
        objective: &dyn Objective<M>,
        parameters: &mut dyn Parameters<M>,
        windows: &WindowSampler<'_>,
        steps: Range<u64>,
    ) -> Result<Vec<f64>, Error> {
        let (values, optimizer) = (parameters.values(model)?, parameters.optimizer()?);
        let progress = self.progress_at(steps.start);
        let curve = self.curve(model.clone(), objective, parameters, windows, steps);
        parameters.restore(model.clone(), &values, Some(&optimizer), progress)?;
        curve
    }

    fn curve<M: Module>(
        &self,
        mut model: M,
        objective: &dyn Objective<M>,
        parameters: &mut dyn Parameters<M>,
        windows: &WindowSampler<'_>,
        steps: Range<u64>,
    ) -> Result<Vec<f64>, Error> {
        let mut curve = Vec::new();
        for step in steps {
            let Slope { loss, nats, grads } = self.slope(&model, objective, windows, step)?;
            let value = if loss.is_finite() { nats } else { loss };
            curve.push(value);
            if !value.is_finite() {
                break;
            }
            model = parameters.step(model, grads, self.at(step))?;
        }
        Ok(curve)
    }
}
