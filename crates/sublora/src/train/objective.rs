//! What a step minimises.
//!
//! # Definition
//! A step makes $K \ge 1$ passes over its windows, one after another, and minimises the sum
//! $$ L(\theta) = \sum_{k=1}^{K} \ell_k(\theta), $$
//! every $\ell_k$ the mean over the micro-batches of the step and their shards. A pass is over when all
//! of its shards are: layers share their width with every clone of a model, so that it may change between
//! passes and at no other time. What a pass leaves for later ones, the logits of a teacher, belongs to one
//! shard of one micro-batch and is outside any graph.
//!
//! [`CrossEntropy`] is the objective of language modelling, in one pass.

use std::num::NonZeroUsize;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use corpus::{WindowIndex, WindowSampler};
use gpt2_model::{Factor, Gpt2, LinearLayer, Loss, NormLayer, cross_entropy, host};

use crate::Error;

/// What the steps of a training minimise, and what is measured of its model.
pub trait Objective<M>: Sync {
    /// Passes of `step`.
    fn passes(&self, step: u64) -> NonZeroUsize;

    /// Called before every pass, while nobody computes with `model` or a clone of it: the time to switch
    /// widths.
    ///
    /// # Errors
    /// A model that cannot be made ready for the pass.
    fn begin(&self, model: &M, pass: Pass) -> Result<(), Error>;

    /// The loss of `batch` in `pass`; none of a pass that only leaves something for later ones. `kept` is
    /// what earlier passes of this step left of this batch.
    ///
    /// # Errors
    /// If the device fails.
    fn loss(
        &self,
        model: &M,
        batch: &Batch,
        pass: Pass,
        kept: &mut Kept,
    ) -> Result<Option<BatchLoss>, Error>;

    /// Measures `model`, without graph and dropout, on `batches`, at least one. May leave its layers at
    /// any width.
    ///
    /// # Errors
    /// If the device fails, or a model that cannot be made ready.
    fn evaluate(&self, model: &M, batches: &[Batch]) -> Result<Evaluation, Error>;
}

/// One of the passes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Counted from 0.
    pub step: u64,
    /// Within the step, counted from 0.
    pub number: usize,
}

/// Windows that are computed together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, seq]`.
    pub tokens: Tensor<2, Int>,
    /// The token after each, `[batch * seq]`, outside any graph.
    pub targets: Tensor<1, Int>,
    /// The first of them.
    pub index: WindowIndex,
}

/// The loss of a batch.
#[derive(Debug)]
pub struct BatchLoss {
    /// To be differentiated. One that no trained weight reaches is in no graph and has no gradient.
    pub minimised: Loss,
    /// Mean cross-entropy of the targets, in nats, outside any graph: what is logged, as the mean over
    /// passes. `[1]`
    pub nats: Tensor<1>,
}

/// What the passes of a step leave for later ones of the same batch, in their order.
#[derive(Debug, Default)]
pub struct Kept(Vec<Tensor<2>>);

/// What was measured on held-out windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The least of a training picks its best checkpoint. In nats per token.
    pub loss: f64,
    /// What to log beside it, by name.
    pub observations: Vec<(String, f64)>,
}

impl Kept {
    /// Leaves `logits`, `[batch * seq, vocab]`, outside their graph.
    pub fn push(&mut self, logits: Tensor<2>) {
        self.0.push(logits.inner());
    }

    /// Those of earlier passes, each `[batch * seq, vocab]`.
    pub fn logits(&self) -> &[Tensor<2>] {
        &self.0
    }
}

impl Batch {
    /// The first `rows` windows of a step.
    pub(crate) fn first_of(
        windows: &WindowSampler<'_>,
        step: u64,
        rows: usize,
        device: &Device,
    ) -> Self {
        Self::of(windows, WindowIndex { step, micro_batch: 0, row: 0 }, rows, device)
    }

    /// The `rows` windows from `index` on.
    pub(crate) fn of(
        windows: &WindowSampler<'_>,
        index: WindowIndex,
        rows: usize,
        device: &Device,
    ) -> Self {
        let seq = windows.length() - 1;
        let mut window = vec![0; seq + 1];
        let (mut x, mut y) = (Vec::with_capacity(rows * seq), Vec::with_capacity(rows * seq));
        for row in 0..rows as u64 {
            windows.fill(WindowIndex { row: index.row + row, ..index }, &mut window);
            x.extend(window[..seq].iter().map(|&token| i64::from(token)));
            y.extend(window[1..].iter().map(|&token| i64::from(token)));
        }
        let tokens = Tensor::from_data(TensorData::new(x, [rows, seq]), device);
        let targets = Tensor::from_data(TensorData::new(y, [rows * seq]), &device.clone().inner());
        Self { tokens, targets, index }
    }

    /// The logits of `model`, `[batch * seq, vocab]`, as a sum of products.
    pub fn factors<L: LinearLayer, N: NormLayer>(&self, model: &Gpt2<L, N>) -> Vec<Factor> {
        let hidden = model.hidden(self.tokens.clone());
        let [batch, seq, d_model] = hidden.dims();
        model.head_factors(hidden.reshape([batch * seq, d_model]))
    }
}

/// Mean cross-entropy of the next token, in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrossEntropy;

impl<L: LinearLayer, N: NormLayer> Objective<Gpt2<L, N>> for CrossEntropy {
    fn passes(&self, _step: u64) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn begin(&self, _model: &Gpt2<L, N>, _pass: Pass) -> Result<(), Error> {
        Ok(())
    }

    fn loss(
        &self,
        model: &Gpt2<L, N>,
        batch: &Batch,
        _pass: Pass,
        _kept: &mut Kept,
    ) -> Result<Option<BatchLoss>, Error> {
        let minimised = cross_entropy(&batch.factors(model), &batch.targets);
        let nats = minimised.clone().inner();
        Ok(Some(BatchLoss { minimised, nats }))
    }

    fn evaluate(&self, model: &Gpt2<L, N>, batches: &[Batch]) -> Result<Evaluation, Error> {
        let mut total = 0.0;
        for batch in batches {
            total += scalar(cross_entropy(&batch.factors(model), &batch.targets))?;
        }
        Ok(Evaluation { loss: total / batches.len() as f64, observations: Vec::new() })
    }
}

/// Where the weights of `model` are.
///
/// # Errors
/// A model without any.
pub(super) fn device_of<M: Module>(model: &M) -> Result<Device, Error> {
    let device = model.devices().into_iter().next();
    device.ok_or_else(|| Error::Config("nothing to train: the model has no weights".to_owned()))
}

/// The value of `loss`, `[1]`, on the host.
pub(crate) fn scalar(loss: Tensor<1>) -> Result<f64, Error> {
    let data = host(loss.inner())?;
    Ok(f64::from(data.iter::<f32>().next().unwrap_or(f32::NAN)))
}
