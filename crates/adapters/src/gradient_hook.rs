//! A point in a graph where the gradient is changed on its way back.
//!
//! # Definition
//! $y = x$ and $\partial L/\partial x = h(\partial L/\partial y)$ for a function $h$ of the user, which
//! runs on the host, on as many threads as there are backward passes. The one operation of burn's
//! autodiff in this crate.

use std::fmt;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, try_read_sync};

type Change = dyn Fn(&mut [f32]) + Send + Sync;

/// What is done to a gradient, in place: any shape, row-major.
#[derive(Clone)]
pub(crate) struct GradientHook(Arc<Change>);

impl GradientHook {
    pub(crate) fn new(change: impl Fn(&mut [f32]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }

    /// `x`, whose gradient passes the hook.
    pub(crate) fn watch<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        Tensor::from_dispatch(Dispatch::hooked(x.into_dispatch(), self))
    }

    /// A gradient that the device does not give away passes as it is.
    fn apply<B: Backend>(&self, gradient: FloatTensor<B>) -> FloatTensor<B> {
        let (device, dtype) = (gradient.device(), gradient.dtype());
        let read = try_read_sync(B::float_into_data(gradient.clone()));
        let Some(Ok(data)) = read else { return gradient };
        let mut data = data.convert::<f32>();
        let Ok(values) = data.as_mut_slice::<f32>() else { return gradient };
        (self.0)(values);
        B::float_from_data(data.convert_dtype(dtype), &device)
    }
}

impl fmt::Debug for GradientHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GradientHook")
    }
}

#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal", feature = "cuda", feature = "rocm"))
)]
trait Hooked: Backend {
    fn hooked(x: FloatTensor<Self>, hook: GradientHook) -> FloatTensor<Self>;
}

/// Without a graph there is no gradient.
macro_rules! passes {
    ($backend:ty) => {
        impl Hooked for $backend {
            fn hooked(x: FloatTensor<Self>, _: GradientHook) -> FloatTensor<Self> {
                x
            }
        }
    };
}

#[cfg(feature = "flex")]
passes!(burn::backend::Flex);
#[cfg(any(
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "cuda",
    feature = "rocm"
))]
passes!(burn::backend::Cube);

#[derive(Debug)]
struct Identity;

impl<B: Backend> Backward<B, 1> for Identity {
    type State = GradientHook;

    fn backward(self, ops: Ops<GradientHook, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let hook = ops.state;
        unary::<B, _>(ops.parents, ops.node, gradients, |gradient| hook.apply::<B>(gradient));
    }
}

impl<B: Backend + Hooked, C: CheckpointStrategy> Hooked for Autodiff<B, C> {
    fn hooked(x: FloatTensor<Self>, hook: GradientHook) -> FloatTensor<Self> {
        let node = x.node();
        let values = x.into_primitive();
        match Identity.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(operation) => operation.finish(hook, values),
            OpsKind::UnTracked(operation) => operation.finish(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn values_pass_and_gradients_change() {
        let device = Device::default().autodiff();
        let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device).require_grad();
        let y = GradientHook::new(|g| g[1] = 7.0).watch(x.clone() * 2.0);
        assert_eq!(y.clone().into_data(), (x.clone() * 2.0).into_data());
        let gradients = (y.clone() * y).sum().backward();
        let gradient = x.grad(&gradients).unwrap().into_data();
        // 2 (2 y) with y = 2 x, and 2 * 7 where the hook wrote.
        assert_eq!(gradient.try_to_vec::<f32>().unwrap(), [8.0, 14.0, 24.0, 32.0]);
    }

    #[test]
    fn without_a_graph_nothing_happens() {
        let x = Tensor::<1>::from_data([1.0, 2.0], &Device::default());
        let y = GradientHook::new(|_| panic!("no gradient")).watch(x.clone());
        assert_eq!(y.into_data(), x.into_data());
        let untracked = Tensor::<1>::from_data([1.0], &Device::default().autodiff());
        let y = GradientHook::new(|_| panic!("no gradient")).watch(untracked.clone());
        let w = Tensor::<1>::from_data([3.0], &Device::default().autodiff()).require_grad();
        let gradients = (y * w.clone()).sum().backward();
        assert_eq!(w.grad(&gradients).unwrap().into_data(), untracked.inner().into_data());
    }
}
