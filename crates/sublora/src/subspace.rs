//! $\theta = \theta_0 + P\alpha$ and its gradient.
//!
//! Both products run on the host in a fixed order: the weights of a decoded model have the same bits
//! on every backend.

use adapters::LoraGpt2;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use gpt2_model::{DeviceError, WeightPath, assign, host, read};
use subspace_projectors::{Allocated, Gates, Layout};

use crate::Error;

/// The trained weights of a model as an affine image of a few coordinates.
pub struct Subspace {
    layout: Layout,
    allocated: Allocated,
    /// `[D]`, the weights at the origin.
    origin: Vec<f32>,
}

impl Subspace {
    /// The subspace through the present weights of `model`.
    ///
    /// # Errors
    /// If the device does not hand a weight back.
    pub fn new(model: &LoraGpt2, layout: Layout, allocated: Allocated) -> Result<Self, Error> {
        let origin = weights(model, &layout)?;
        Ok(Self { layout, allocated, origin })
    }

    /// Who receives which coordinates.
    pub fn allocated(&self) -> &Allocated {
        &self.allocated
    }

    /// Number of coordinates.
    pub fn dimension(&self) -> usize {
        self.allocated.shape().intrinsic
    }

    /// The weights at `alpha`, `[d]`, with these gates, flat: `[D]`.
    pub fn weights_at(&self, alpha: &[f32], gates: &Gates) -> Vec<f32> {
        let mut theta = vec![0.0; self.origin.len()];
        self.allocated.apply(alpha, gates, &mut theta);
        theta.iter_mut().zip(&self.origin).for_each(|(theta, origin)| *theta += origin);
        theta
    }

    /// Puts the weights at `alpha`, `[d]`, with these gates into `model`.
    pub fn place(&self, model: LoraGpt2, alpha: &[f32], gates: &Gates) -> LoraGpt2 {
        put_weights(model, &self.layout, &self.weights_at(alpha, gates))
    }

    /// The gradient of the weights, flat: `[D]`.
    ///
    /// # Errors
    /// If the device does not hand a gradient back.
    pub fn gradient(&self, model: &LoraGpt2, grads: &GradientsParams) -> Result<Vec<f32>, Error> {
        flat_gradient(model, &self.layout, grads)
    }
}

/// The trained weights, flat: `[D]`.
pub(crate) fn weights<M: Module>(model: &M, layout: &Layout) -> Result<Vec<f32>, Error> {
    let chosen = |name: &str| layout.tensor(name).is_some();
    let tensors = read(model, chosen)?;
    let values: Vec<Vec<f32>> =
        tensors.iter().map(|(_, data)| data.iter::<f32>().collect()).collect();
    Ok(layout.flatten(&values)?)
}

/// Replaces the trained weights by `theta`, `[D]`.
pub(crate) fn put_weights<M: Module>(model: M, layout: &Layout, theta: &[f32]) -> M {
    assign(model, |name, _shape| Some(theta[layout.tensor(name)?.range()].to_vec()))
}

/// The gradient of the trained weights, flat: `[D]`. A weight that the loss does not reach has zero.
pub(crate) fn flat_gradient<M: Module>(
    model: &M,
    layout: &Layout,
    grads: &GradientsParams,
) -> Result<Vec<f32>, Error> {
    let mut gather = Gather {
        path: WeightPath::default(),
        layout,
        grads,
        found: Ok(vec![0.0; layout.ambient()]),
    };
    model.visit(&mut gather);
    Ok(gather.found?)
}

struct Gather<'a> {
    path: WeightPath,
    layout: &'a Layout,
    grads: &'a GradientsParams,
    found: Result<Vec<f32>, DeviceError>,
}

impl ModuleVisitor for Gather<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = self.layout.tensor(&self.path.name());
        let (Some(tensor), Some(gradient)) = (tensor, self.grads.get::<D>(param.id)) else {
            return;
        };
        let data = host(gradient);
        if let (Ok(found), Ok(data)) = (&mut self.found, &data) {
            copy(data, &mut found[tensor.range()]);
        } else if let Err(error) = data {
            self.found = Err(error);
        }
    }
}

fn copy(data: &TensorData, out: &mut [f32]) {
    out.iter_mut().zip(data.iter::<f32>()).for_each(|(out, value)| *out = value);
}
