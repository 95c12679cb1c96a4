//! The training loop: batches, gradients, updates, held-out evaluation, checkpoints.

mod direct;
mod in_subspace;
mod state;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use adapters::LoraGpt2;
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use corpus::{WindowIndex, WindowSampler};
use gpt2_model::{cross_entropy, host};

pub use direct::Direct;
pub use in_subspace::{InSubspace, Point};
use state::State;

use crate::atomic::FileError;
use crate::config::TrainConfig;
use crate::metrics::MetricsLog;
use crate::side_by_side::side_by_side;
use crate::spec::Spec;
use crate::{Error, Progress};

/// What a step changes: the weights themselves, or the coordinates of a subspace.
pub trait Parameters {
    /// Takes one optimiser step along `grads`, the gradients of the model's weights.
    ///
    /// # Errors
    /// If the device fails.
    fn step(&mut self, model: LoraGpt2, grads: GradientsParams, at: At) -> Result<LoraGpt2, Error>;

    /// What is trained, by name.
    ///
    /// # Errors
    /// If the device fails.
    fn values(&self, model: &LoraGpt2) -> Result<Vec<(String, Vec<f32>)>, Error>;

    /// Goes back to `values` and, if given, to an optimiser state, after a share `progress` of the steps.
    ///
    /// # Errors
    /// If the values are not those of this model, or the state cannot be read.
    fn restore(
        &mut self,
        model: LoraGpt2,
        values: &[(String, Vec<f32>)],
        optimizer: Option<&[u8]>,
        progress: f64,
    ) -> Result<LoraGpt2, Error>;

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
    /// What is trained. Checkpoints of anything else are refused.
    pub spec: &'a Spec,
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
    pub fn run(
        &self,
        task: &str,
        model: LoraGpt2,
        parameters: &mut dyn Parameters,
        data: &Data<'_>,
        resume: bool,
    ) -> Result<(LoraGpt2, Outcome), Error> {
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
            let learning_rate = self.config.learning_rate.at(step, self.config.steps);
            let finite = |what, value: f64| {
                if value.is_finite() {
                    return Ok(());
                }
                Err(Error::Diverged { task: task.to_owned(), what, value, step, learning_rate })
            };
            let (loss, grads) = self.gradients(&model, &data.train, step)?;
            finite("loss", loss)?;
            let progress = self.progress_at(step + 1);
            model = parameters.step(model, grads, At { learning_rate, progress })?;
            tokens += (self.config.batch * self.config.seq) as u64 * self.config.accumulation;
            let rate = tokens as f64 / ((self.now)() - since).max(1e-9);
            let done = step + 1;
            let bits = loss / std::f64::consts::LN_2;
            let record = [("train/bits_per_token", bits), ("learning_rate", learning_rate)];
            metrics.record(done, &record)?;
            let note = format!("{bits:.3} bits/token, {rate:.0} tokens/s");
            let flow = self.progress.update(done, &note);
            // Only where a run that is never interrupted evaluates, so that both choose the same best.
            let evaluate = done % self.config.eval_every == 0 || done == self.config.steps;
            if evaluate {
                let held_out = match &data.held_out {
                    Some(windows) => self.evaluate(&model, windows)?,
                    None => loss,
                };
                finite("held-out loss", held_out)?;
                let bits = held_out / std::f64::consts::LN_2;
                let observed = parameters.observations();
                let observed = observed.iter().map(|(name, value)| (name.as_str(), *value));
                let record = [("held_out/bits_per_token", bits)].into_iter().chain(observed);
                metrics.record(done, &record.collect::<Vec<_>>())?;
                if held_out < outcome.best_loss && parameters.is_settled(progress) {
                    outcome = Outcome { best_loss: held_out, best_step: done };
                }
            }
            if evaluate || flow.is_break() {
                let state = State {
                    spec: self.spec.to_toml()?,
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
    pub fn restore_best(
        &self,
        model: LoraGpt2,
        parameters: &mut dyn Parameters,
    ) -> Result<LoraGpt2, Error> {
        let best = self.checked(State::read(&self.folder.join("best.safetensors"))?)?;
        parameters.restore(model, &best.values, None, self.progress_at(best.step))
    }

    /// Passes on what is of the model that is trained here.
    fn checked(&self, state: State) -> Result<State, Error> {
        match self.spec.difference_from(&state.spec)? {
            None => Ok(state),
            Some(difference) => {
                let folder = self.folder.display();
                let reason =
                    format!("the checkpoints in `{folder}` are of another model: {difference}");
                Err(Error::Mismatch(reason))
            }
        }
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

    /// Mean loss of a step's micro-batches, in nats, and the gradients of that mean.
    fn gradients(
        &self,
        model: &LoraGpt2,
        windows: &WindowSampler<'_>,
        step: u64,
    ) -> Result<(f64, GradientsParams), Error> {
        let device = model.wte.weight.device();
        device.seed(step); // of dropout, so that a resumed run draws the same masks
        let shards = self.config.shards;
        let parts = self.config.accumulation * shards;
        let rows = self.config.batch / usize::try_from(shards).unwrap_or(usize::MAX).max(1);
        let mut accumulator = GradientsAccumulator::new();
        let mut total = 0.0;
        for micro_batch in 0..self.config.accumulation {
            // Side by side, then added up in order: the sum does not depend on who was first.
            let shard = |shard: usize, model: LoraGpt2| -> Result<_, Error> {
                let index = WindowIndex { step, micro_batch, row: (shard * rows) as u64 };
                let (x, y) = batch(windows, index, rows, &device);
                let loss = mean_loss(&model, x, &y);
                let value = scalar(loss.clone())?;
                let loss = loss / parts as f64;
                Ok((value, GradientsParams::from_grads(loss.backward(), &model)))
            };
            let models = (0..shards).map(|_| with_own_graph(model.clone())).collect();
            for result in side_by_side(models, shard) {
                let (value, grads) = result?;
                total += value;
                accumulator.accumulate(model, grads);
            }
        }
        Ok((total / parts as f64, accumulator.grads()))
    }

    /// Mean loss over the fixed evaluation windows, in nats, with dropout off.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate(&self, model: &LoraGpt2, windows: &WindowSampler<'_>) -> Result<f64, Error> {
        let model = model.valid();
        let device = model.wte.weight.device();
        let mut total = 0.0;
        for micro_batch in 0..self.config.eval_batches {
            let index = WindowIndex { step: 0, micro_batch, row: 0 };
            let (x, y) = batch(windows, index, self.config.batch, &device);
            total += scalar(mean_loss(&model, x, &y))?;
        }
        Ok(total / self.config.eval_batches as f64)
    }
}

/// The same weights as leaves of another graph. Where two threads share leaves, burn keeps one graph
/// for both, and a backward pass of one frees nodes that the other is about to use.
fn with_own_graph(model: LoraGpt2) -> LoraGpt2 {
    struct Leaves;
    impl ModuleMapper for Leaves {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            let trained = value.is_require_grad();
            Param::from_mapped_value(id, value.detach(), mapper).set_require_grad(trained)
        }
    }
    model.map(&mut Leaves)
}

/// Inputs `[batch, seq]` and targets `[batch * seq]` of the windows from `index` on.
fn batch(
    windows: &WindowSampler<'_>,
    index: WindowIndex,
    rows: usize,
    device: &Device,
) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let seq = windows.length() - 1;
    let mut window = vec![0; seq + 1];
    let (mut x, mut y) = (Vec::with_capacity(rows * seq), Vec::with_capacity(rows * seq));
    for row in 0..rows as u64 {
        windows.fill(WindowIndex { row: index.row + row, ..index }, &mut window);
        x.extend(window[..seq].iter().map(|&token| i64::from(token)));
        y.extend(window[1..].iter().map(|&token| i64::from(token)));
    }
    let x = Tensor::from_data(TensorData::new(x, [rows, seq]), device);
    let y = Tensor::from_data(TensorData::new(y, [rows * seq]), &device.clone().inner());
    (x, y)
}

fn mean_loss(model: &LoraGpt2, x: Tensor<2, Int>, y: &Tensor<1, Int>) -> Tensor<1> {
    let hidden = model.hidden(x);
    let [batch, seq, d_model] = hidden.dims();
    cross_entropy(&model.head_factors(hidden.reshape([batch * seq, d_model])), y)
}

fn scalar(loss: Tensor<1>) -> Result<f64, Error> {
    let data = host(loss.inner())?;
    Ok(f64::from(data.iter::<f32>().next().unwrap_or(f32::NAN)))
}
