//! Training the weights themselves: all of a model, or a part of it.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use gpt2_model::{WeightPath, host};
use subspace_projectors::Layout;

use super::{At, Parameters};
use crate::Error;
use crate::config::TrainConfig;
use crate::subspace::{put_weights, weights};

/// `AdamW` on the weights of a layout.
pub struct Direct {
    layout: Layout,
    optimizer: ModuleOptimizer,
    clip: f64,
    undecayed: Option<Undecayed>,
}

/// Weights that do not decay, and those of them whose steps are relative to their own size, as those of
/// Adafactor (arXiv:1804.04235) are: a step of Adam is of the size of its learning rate, whatever it moves.
struct Undecayed {
    /// Whether a name is of one of them.
    is_one: fn(&str) -> bool,
    is_relative: fn(&str) -> bool,
    /// Learning rate as a multiple of that of the others.
    rate: f64,
    optimizer: ModuleOptimizer,
}

impl Direct {
    /// A fresh optimiser for the weights of `layout`.
    pub fn new(layout: Layout, config: &TrainConfig) -> Self {
        let optimizer = adam_w(config.weight_decay).init();
        Self { layout, optimizer, clip: config.clip, undecayed: None }
    }

    /// Weights whose name `is_undecayed` do not decay and learn at `rate` times the learning rate of the
    /// others, by steps relative to their own size where their name `is_relative`, too.
    pub(crate) fn with_undecayed(
        self,
        is_undecayed: fn(&str) -> bool,
        is_relative: fn(&str) -> bool,
        rate: f64,
    ) -> Self {
        let optimizer = adam_w(0.0).init();
        Self {
            undecayed: Some(Undecayed { is_one: is_undecayed, is_relative, rate, optimizer }),
            ..self
        }
    }
}

impl Direct {
    fn restore_optimizer(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(undecayed) = &mut self.undecayed else {
            self.optimizer = restored(self.optimizer.clone(), bytes)?;
            return Ok(());
        };
        let short = || Error::Mismatch("optimiser state: it has only one part of two".to_owned());
        let (length, both) = bytes.split_first_chunk().ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
        let (first, second) = both.split_at_checked(length).ok_or_else(short)?;
        self.optimizer = restored(self.optimizer.clone(), first)?;
        undecayed.optimizer = restored(undecayed.optimizer.clone(), second)?;
        Ok(())
    }
}

/// The reference setting: betas 0.9 and 0.999, epsilon 1e-6.
#[expect(clippy::cast_possible_truncation, reason = "burn takes it as f32")]
pub(super) fn adam_w(weight_decay: f64) -> AdamWConfig {
    let config = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.999).with_epsilon(1e-6);
    config.with_weight_decay(weight_decay as f32)
}

/// The bytes of an optimiser's state.
pub(super) fn stored(optimizer: &ModuleOptimizer) -> Result<Vec<u8>, Error> {
    let bytes = optimizer.into_bytes();
    let bytes = bytes.map_err(|error| Error::Mismatch(format!("optimiser state: {error}")))?;
    Ok(bytes.to_vec())
}

/// Continues from the bytes of an optimiser's state.
pub(super) fn restored(optimizer: ModuleOptimizer, bytes: &[u8]) -> Result<ModuleOptimizer, Error> {
    let bytes = burn::tensor::Bytes::from_bytes_vec(bytes.to_vec());
    optimizer
        .from_bytes(bytes)
        .map_err(|error| Error::Mismatch(format!("optimiser state: {error}")))
}

impl<M: Module> Parameters<M> for Direct {
    fn step(&mut self, model: M, grads: GradientsParams, at: At) -> Result<M, Error> {
        let norm = global_norm(&model, &grads)?;
        // Scaling every gradient by one factor is scaling the step's own numbers: AdamW's update
        // depends on the factor through its moments, so the gradients themselves are scaled.
        let grads = if norm > self.clip { scaled(&model, grads, self.clip / norm) } else { grads };
        let Some(undecayed) = &mut self.undecayed else {
            return Ok(self.optimizer.step(at.learning_rate, model, grads));
        };
        let (grads, of_undecayed) = split(&model, grads, undecayed.is_one);
        let model = self.optimizer.step(at.learning_rate, model, grads);
        let rate = at.learning_rate * undecayed.rate;
        let moved = undecayed.optimizer.step(rate, model.clone(), of_undecayed);
        Ok(scale_steps(&model, moved, undecayed.is_relative))
    }

    fn values(&self, model: &M) -> Result<Vec<(String, Vec<f32>)>, Error> {
        let theta = weights(model, &self.layout)?;
        let tensors = self.layout.tensors().iter();
        Ok(tensors.map(|it| (it.name().to_owned(), theta[it.range()].to_vec())).collect())
    }

    fn restore(
        &mut self,
        model: M,
        values: &[(String, Vec<f32>)],
        optimizer: Option<&[u8]>,
        _progress: f64,
    ) -> Result<M, Error> {
        let names = self.layout.tensors().iter().map(subspace_projectors::Tensor::name);
        if !names.eq(values.iter().map(|(name, _)| name.as_str())) {
            return Err(Error::Mismatch(
                "the checkpoint is of a model with other weights".to_owned(),
            ));
        }
        let flat: Vec<&[f32]> = values.iter().map(|(_, values)| values.as_slice()).collect();
        let theta = self.layout.flatten(&flat)?;
        if let Some(bytes) = optimizer {
            self.restore_optimizer(bytes)?;
        }
        Ok(put_weights(model, &self.layout, &theta))
    }

    fn optimizer(&self) -> Result<Vec<u8>, Error> {
        let Some(undecayed) = &self.undecayed else { return stored(&self.optimizer) };
        let bytes = stored(&self.optimizer)?;
        let length = (bytes.len() as u64).to_le_bytes().to_vec();
        Ok([length, bytes, stored(&undecayed.optimizer)?].concat())
    }

    fn is_settled(&self, _progress: f64) -> bool {
        true
    }

    fn observations(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

/// The gradients of all weights but those whose name `is_chosen`, and theirs.
fn split<M: Module>(
    model: &M,
    grads: GradientsParams,
    is_chosen: fn(&str) -> bool,
) -> (GradientsParams, GradientsParams) {
    struct Split {
        path: WeightPath,
        is_chosen: fn(&str) -> bool,
        rest: GradientsParams,
        chosen: GradientsParams,
    }
    impl ModuleVisitor for Split {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.enter(name);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !(self.is_chosen)(&self.path.name()) {
                return;
            }
            if let Some(gradient) = self.rest.remove::<D>(param.id) {
                self.chosen.register(param.id, gradient);
            }
        }
    }
    let (path, chosen) = (WeightPath::default(), GradientsParams::new());
    let mut split = Split { path, is_chosen, rest: grads, chosen };
    model.visit(&mut split);
    (split.rest, split.chosen)
}

/// `moved`, with the steps from `from` of weights whose name `is_chosen` multiplied by the magnitude of
/// what they are taken from.
fn scale_steps<M: Module>(from: &M, moved: M, is_chosen: fn(&str) -> bool) -> M {
    struct Collect(WeightPath, fn(&str) -> bool, Vec<Tensor<1>>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.0.enter(name);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.0.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if (self.1)(&self.0.name()) {
                self.2.push(param.val().detach().flatten(0, D - 1));
            }
        }
    }
    /// In the order of the visit.
    struct Rescale(WeightPath, fn(&str) -> bool, std::vec::IntoIter<Tensor<1>>);
    impl ModuleMapper for Rescale {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.0.enter(name);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.0.exit();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !(self.1)(&self.0.name()) {
                return param;
            }
            let Some(from) = self.2.next() else { return param };
            let (id, moved, mapper) = param.consume();
            let trained = moved.is_require_grad();
            let moved = moved.detach();
            let from = from.reshape(moved.shape());
            let value = (from.clone() + (moved - from.clone()) * from.abs()).detach();
            Param::from_mapped_value(id, value, mapper).set_require_grad(trained)
        }
    }
    let mut collect = Collect(WeightPath::default(), is_chosen, Vec::new());
    from.visit(&mut collect);
    moved.map(&mut Rescale(WeightPath::default(), is_chosen, collect.2.into_iter()))
}

fn global_norm<M: Module>(model: &M, grads: &GradientsParams) -> Result<f64, Error> {
    struct Squares<'a>(&'a GradientsParams, Vec<Tensor<1>>);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.push((gradient.clone() * gradient).sum());
            }
        }
    }
    let mut squares = Squares(grads, Vec::new());
    model.visit(&mut squares);
    let mut sum = 0.0;
    for square in squares.1 {
        sum += host(square)?.iter::<f64>().sum::<f64>();
    }
    Ok(sum.sqrt())
}

fn scaled<M: Module>(model: &M, grads: GradientsParams, factor: f64) -> GradientsParams {
    struct Scale(GradientsParams, f64);
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient * self.1);
            }
        }
    }
    let mut scale = Scale(grads, factor);
    model.visit(&mut scale);
    scale.0
}
