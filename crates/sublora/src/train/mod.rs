//! The training loop: gradients, updates, held-out evaluation, checkpoints.

mod direct;
mod in_subspace;
mod objective;
mod probe;
mod state;
mod step;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use adapters::LoraGpt2;
use burn::module::Module;
use burn::optim::GradientsParams;
use corpus::{WindowIndex, WindowSampler};

pub use direct::Direct;
pub use in_subspace::{InSubspace, Point};
use objective::device_of;
#[cfg(test)]
pub(crate) use objective::scalar;
pub use objective::{Batch, BatchLoss, CrossEntropy, Evaluation, Kept, Objective, Pass};
use state::State;
use step::Slope;

use crate::atomic::FileError;
use crate::config::{TrainConfig, first_difference};
use crate::metrics::MetricsLog;
use crate::{Error, Progress};

/// What a step changes: the weights themselves, or the coordinates of a subspace.
pub trait Parameters<M = LoraGpt2> {
    /// Takes one optimiser step along `grads`, the gradients of the model's weights.
    ///
    /// # Errors
    /// If the device fails.
    fn step(&mut self, model: M, grads: GradientsParams, at: At) -> Result<M, Error>;

    /// What is trained, by name.
    ///
    /// # Errors
    /// If the device fails.
    fn values(&self, model: &M) -> Result<Vec<(String, Vec<f32>)>, Error>;

    /// Goes back to `values` and, if given, to an optimiser state, after a share `progress` of the steps.
    ///
    /// # Errors
    /// If the values are not those of this model, or the state cannot be read.
    fn restore(
        &mut self,
        model: M,
        values: &[(String, Vec<f32>)],
        optimizer: Option<&[u8]>,
        progress: f64,
    ) -> Result<M, Error>;

    /// The optimiser's state.
    ///
    /// # Errors
    /// If the device fails.
    fn optimizer(&self) -> Result<Vec<u8>, Error>;

    /// Whether, after a share `progress` of the steps, the model has the form it will be kept in. One
    /// that has not is never the best of a run.
    fn is_settled(&self, progress: f64) -> bool;

    /// What to log besides losses, by name.
    fn observations(&self) -> Vec<(String, f64)>;
}

/// Where in a training a step is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At {
    /// Of this step.
    pub learning_rate: f64,
    /// The share of the steps that are over when it is taken, in (0, 1].
    pub progress: f64,
}

/// Where the windows come from.
pub struct Data<'a> {
    /// To train on: windows of `seq + 1` tokens.
    pub train: WindowSampler<'a>,
    /// Held out, if there is anything.
    pub held_out: Option<WindowSampler<'a>>,
}

/// How a training run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Least held-out loss, in nats; of the last step's batch if nothing is held out.
    pub best_loss: f64,
    /// Step it was reached at.
    pub best_step: u64,
}

/// One training run and its folder.
pub struct Trainer<'a> {
    /// The loop.
    pub config: &'a TrainConfig,
    /// What is trained, as TOML. Checkpoints of anything else are refused.
    pub spec: String,
    /// Holds `last.safetensors`, `best.safetensors` and the metrics.
    pub folder: PathBuf,
    /// The clock, in seconds, for the metrics and the rate.
    pub now: &'a (dyn Fn() -> f64 + Sync),
    /// Who listens.
    pub progress: &'a dyn Progress,
}

impl Trainer<'_> {
    /// Trains to the end and returns the model at its best held-out loss. With `resume`, goes on
    /// from the last checkpoint and comes to the same losses as a run that never stopped.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a checkpoint if the listener asked for it, [`Error::Diverged`] at
    /// the first number that is none; else what failed.
    pub fn run<M: Module>(
        &self,
        task: &str,
        model: M,
        objective: &dyn Objective<M>,
        parameters: &mut dyn Parameters<M>,
        data: &Data<'_>,
        resume: bool,
    ) -> Result<(M, Outcome), Error> {
        let last = self.folder.join("last.safetensors");
        let best = self.folder.join("best.safetensors");
        std::fs::create_dir_all(&self.folder).map_err(FileError::at("create", &self.folder))?;
        let mut model = model;
        let mut outcome = Outcome { best_loss: f64::INFINITY, best_step: 0 };
        let mut start = 0;
        if resume && last.exists() {
            let state = self.checked(State::read(&last)?)?;
            let progress = self.progress_at(state.step);
            model = parameters.restore(model, &state.values, Some(&state.optimizer), progress)?;
            (start, outcome) = (state.step, state.outcome);
        }
        let mut metrics = if resume {
            MetricsLog::resume(&self.folder, start + 1, self.now)?
        } else {
            MetricsLog::create(&self.folder, self.now)?
        };
        self.progress.begin(task, "steps", self.config.steps);
        let (mut since, mut tokens) = ((self.now)(), 0_u64);
        for step in start..self.config.steps {
            let at = self.at(step);
            let At { learning_rate, progress } = at;
            let finite = |what, value: f64| {
                if value.is_finite() {
                    return Ok(());
                }
                Err(Error::Diverged { task: task.to_owned(), what, value, step, learning_rate })
            };
            let Slope { loss, nats, grads } = self.slope(&model, objective, &data.train, step)?;
            finite("loss", loss)?;
            finite("loss", nats)?; // of an objective that has none, for example
            model = parameters.step(model, grads, at)?;
            tokens += (self.config.batch * self.config.seq) as u64 * self.config.accumulation;
            let rate = tokens as f64 / ((self.now)() - since).max(1e-9);
            let done = step + 1;
            let bits = nats / std::f64::consts::LN_2;
            let record = [("train/bits_per_token", bits), ("learning_rate", learning_rate)];
            metrics.record(done, &record)?;
            let note = format!("{bits:.3} bits/token, {rate:.0} tokens/s");
            let flow = self.progress.update(done, &note);
            // Only where a run that is never interrupted evaluates, so that both choose the same best.
            let evaluate = done % self.config.eval_every == 0 || done == self.config.steps;
            if evaluate {
                let held_out = match &data.held_out {
                    Some(windows) => self.evaluate(&model, objective, windows)?,
                    None => Evaluation { loss: nats, observations: Vec::new() },
                };
                let Evaluation { loss: held_out, observations } = held_out;
                finite("held-out loss", held_out)?;
                let bits = held_out / std::f64::consts::LN_2;
                let observed = [parameters.observations(), observations].concat();
                let observed = observed.iter().map(|(name, value)| (name.as_str(), *value));
                let record = [("held_out/bits_per_token", bits)].into_iter().chain(observed);
                metrics.record(done, &record.collect::<Vec<_>>())?;
                if held_out < outcome.best_loss && parameters.is_settled(progress) {
                    outcome = Outcome { best_loss: held_out, best_step: done };
                }
            }
            if evaluate || flow.is_break() {
                let state = State {
                    spec: self.spec.clone(),
                    step: done,
                    outcome,
                    values: parameters.values(&model)?,
                    optimizer: parameters.optimizer()?,
                };
                for value in state.values.iter().flat_map(|(_, values)| values) {
                    finite("trained number", f64::from(*value))?;
                }
                if outcome.best_step == done {
                    State { optimizer: Vec::new(), ..state.clone() }.write(&best)?;
                }
                state.write(&last)?;
                (since, tokens) = ((self.now)(), 0);
            }
            if flow == ControlFlow::Break(()) && done < self.config.steps {
                return Err(Error::Interrupted);
            }
        }
        self.progress.end();
        if best.exists() {
            model = self.restore_best(model, parameters)?;
        }
        Ok((model, outcome))
    }

    /// Goes to the values with the best held-out loss of a finished run.
    ///
    /// # Errors
    /// If there are none, or they are of another model.
    pub fn restore_best<M>(
        &self,
        model: M,
        parameters: &mut dyn Parameters<M>,
    ) -> Result<M, Error> {
        let best = self.checked(State::read(&self.folder.join("best.safetensors"))?)?;
        parameters.restore(model, &best.values, None, self.progress_at(best.step))
    }

    /// Goes to the values of the last step of a finished run.
    ///
    /// # Errors
    /// [`Error::Untrained`] before that, or values of another model.
    pub fn restore_last<M>(
        &self,
        model: M,
        parameters: &mut dyn Parameters<M>,
    ) -> Result<M, Error> {
        let last = self.checked(State::read(&self.folder.join("last.safetensors"))?)?;
        let (step, steps) = (last.step, self.config.steps);
        if step < steps {
            return Err(Error::Untrained { folder: self.folder.clone(), step, steps });
        }
        parameters.restore(model, &last.values, None, self.progress_at(step))
    }

    /// Passes on what is of the model that is trained here.
    fn checked(&self, state: State) -> Result<State, Error> {
        match difference(&self.spec, &state.spec)? {
            None => Ok(state),
            Some(difference) => {
                let folder = self.folder.display();
                let reason =
                    format!("the checkpoints in `{folder}` are of another model: {difference}");
                Err(Error::Mismatch(reason))
            }
        }
    }

    fn at(&self, step: u64) -> At {
        let learning_rate = self.config.learning_rate.at(step, self.config.steps);
        At { learning_rate, progress: self.progress_at(step + 1) }
    }

    fn progress_at(&self, step: u64) -> f64 {
        step as f64 / self.config.steps as f64
    }

    /// Steps taken at the last checkpoint in `folder`; none before the first.
    ///
    /// # Errors
    /// A checkpoint that cannot be read.
    pub fn steps_taken(folder: &Path) -> Result<Option<u64>, Error> {
        let last = folder.join("last.safetensors");
        if last.exists() { Ok(Some(State::read(&last)?.step)) } else { Ok(None) }
    }

    /// The best so far at the last checkpoint in `folder`; none before the first.
    ///
    /// # Errors
    /// A checkpoint that cannot be read.
    pub fn outcome(folder: &Path) -> Result<Option<Outcome>, Error> {
        let last = folder.join("last.safetensors");
        if last.exists() { Ok(Some(State::read(&last)?.outcome)) } else { Ok(None) }
    }

    /// Measures `model` on the fixed evaluation windows, with dropout off.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate<M: Module>(
        &self,
        model: &M,
        objective: &dyn Objective<M>,
        windows: &WindowSampler<'_>,
    ) -> Result<Evaluation, Error> {
        let model = model.valid();
        let device = device_of(&model)?;
        let batch = |micro_batch| {
            let index = WindowIndex { step: 0, micro_batch, row: 0 };
            Batch::of(windows, index, self.config.batch, &device)
        };
        let batches: Vec<Batch> = (0..self.config.eval_batches).map(batch).collect();
        objective.evaluate(&model, &batches)
    }
}

/// The first key in which one TOML text is not another, earlier one, and both values.
fn difference(now: &str, then: &str) -> Result<Option<String>, Error> {
    let table = |text: &str| text.parse::<toml::Table>().map_err(|error| Error::config(&error));
    Ok(first_difference(&table(now)?.into(), &table(then)?.into()))
}
